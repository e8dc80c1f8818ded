//! Chat templates: any text is either a template that renders a short chat, or an error.

#![no_main]

use attamba::internals::ChatTemplate;
use attamba::text::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let chat = [Message::system("Be kind."), Message::user(" Hi\n"), Message::assistant("Hello!")];
    let _ = template.render(&chat, true);
});
