// Validates WGSL files with Tint, the front end of Chrome, through the npm package `webgpu`:
//
//     cargo test --test shaders
//     npm install --prefix target/tint webgpu
//     NODE_PATH=target/tint/node_modules node scripts/check-shaders.mjs target/tmp/wgsl
//
// It needs no GPU. It rejects what naga accepts, such as barriers in non-uniform control flow.

import { createRequire } from "node:module";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const { create, globals } = createRequire(import.meta.url)("webgpu");
Object.assign(globalThis, globals);

const folder = process.argv[2];
const files = readdirSync(folder).filter((name) => name.endsWith(".wgsl"));
if (files.length === 0) {
  console.error(`no .wgsl files in ${folder}; cargo test --test shaders writes them`);
  process.exit(1);
}
const gpu = create(["backend=null"]);
const adapter = await gpu.requestAdapter();
const wanted = ["subgroups", "shader-f16"];
const device = await adapter.requestDevice({
  requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
});

let failed = 0;
for (const file of files) {
  const code = readFileSync(join(folder, file), "utf8");
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  await device.popErrorScope();
  const errors = messages.filter((message) => message.type === "error");
  if (errors.length > 0) {
    failed += 1;
    const name = code.split("\n").find((line) => line.startsWith("// "));
    for (const { lineNum, message } of errors) {
      console.error(`${file} ${name}: line ${lineNum}: ${message}`);
    }
  }
}
console.log(`${files.length} shaders, ${failed} refused`);
process.exit(failed === 0 ? 0 : 1);
