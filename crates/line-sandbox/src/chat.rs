//! Pages for people: one chat as the person sees it, and a list of chats.

use std::fmt::Write as _;

use mainstem_domain::ChannelId;

use crate::people::{Chat, Line};

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:40em;margin:2em auto;padding:0 1em}\
    ol{list-style:none;padding:0}li{margin:.4em 0}time{color:#777;font-size:.8em}\
    p{display:inline-block;margin:0 .5em;padding:.3em .8em;border-radius:1em;background:#eee;\
    white-space:pre-wrap}.me{text-align:right}.me p{background:#8de055}";

/// One chat. The person's own words stand to the right, as on their telephone.
pub(crate) fn page(channel: &ChannelId, user: &str, lines: &[Line]) -> String {
    let mut body = format!("<h1>{channel}</h1><p>{}</p><ol>", escape(user));
    for line in lines {
        let (class, who) = if line.by_person { ("me", "person") } else { ("account", "account") };
        let _ = write!(
            body,
            "<li class=\"{class}\"><p title=\"{who}\">{}</p><time>{}</time></li>",
            escape(&line.text),
            line.at
        );
    }
    if lines.is_empty() {
        body += "<li>nothing was said here</li>";
    }
    whole(channel.as_str(), &(body + "</ol>"))
}

/// A list of chats with links to their pages.
pub(crate) fn list(chats: &[(&Chat, usize)]) -> String {
    let mut body = String::from("<h1>Chats, the longest first</h1><ol>");
    for ((channel, user), lines) in chats {
        let _ = write!(
            body,
            "<li><a href=\"chat/{channel}/{}\">{channel} {}</a> {lines} lines</li>",
            for_path(user),
            escape(user)
        );
    }
    whole("Chats", &(body + "</ol>"))
}

fn whole(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"zh-Hant\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// User ids of LINE need no escaping; whatever else somebody posted does.
fn for_path(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use mainstem_domain::At;

    use super::*;

    #[test]
    fn a_chat_is_readable_and_nothing_in_it_is_markup() {
        let line = |by_person, text: &str| Line {
            at: At::from_millis(1_795_219_200_000),
            by_person,
            text: text.to_owned(),
        };
        let lines = [line(true, "<script>1</script> & \"x\""), line(false, "您好")];
        let page = page(&"line-1".parse().unwrap(), "U1", &lines);
        assert!(page.contains("&lt;script&gt;1&lt;/script&gt; &amp; &quot;x&quot;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
        let (mine, theirs) = (page.find("class=\"me\""), page.find("您好"));
        assert!(mine.unwrap() < theirs.unwrap(), "{page}");
        assert!(page.contains("<time>2026-11-21"), "{page}");
    }

    #[test]
    fn a_link_leads_to_its_chat() {
        let chat: Chat = ("line-1".parse().unwrap(), "a b/ü".to_owned());
        assert!(list(&[(&chat, 2)]).contains("href=\"chat/line-1/a%20b%2F%C3%BC\""));
    }
}
