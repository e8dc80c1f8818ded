//! Chat templates: any text is either a template that renders a short chat, or an error.

#![no_main]

use attamba::internals::{ChatTemplate, Variables};
use attamba::text::Message;
use libfuzzer_sys::fuzz_target;

/// A call of a tool, and what it returned.
const CALL: &str = r#"[{"role": "assistant", "content": null, "reasoning_content": "Hm.",
    "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": [1, 2.5, true]}}}]},
    {"role": "tool", "content": [{"type": "text", "text": "7"}]}]"#;
const TOOLS: &str = r#"{"enable_thinking": false,
    "tools": [{"function": {"name": "f", "parameters": {"properties": {"x": {"type": "array"}}}}}]}"#;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let mut chat =
        vec![Message::system("Be kind."), Message::user(" Hi\n"), Message::assistant("Hello!")];
    let _ = template.render(&chat, true);
    chat.extend(Message::list_from_json(CALL).expect("messages"));
    let tools = Variables::from_json(TOOLS).expect("variables");
    let _ = template.render_with(&chat, true, &tools);
});
