//! Text that others wrote: names, keys, messages of AWS, values of an input. It may be of any length and
//! hold anything, and is told in messages, stored in records of at most 400 KB and shown on terminals.

/// Most bytes of a text that [`excerpt`] quotes.
const MAX_EXCERPT_BYTES: usize = 200;

/// The beginning of a text, of at most `max_bytes`; one that is cut ends with `…` besides.
pub fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        text.push('…');
    }
    text
}

/// A text in quotes for a message: escaped, and not longer than a line or two.
pub fn excerpt(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_EXCERPT_BYTES);
    let ellipsis = if end < text.len() { "…" } else { "" };
    format!("{:?}{ellipsis}", &text[..end])
}

/// A text with everything that could pass for something else spelled out: control characters, which
/// move the cursor of a terminal or begin a new line, and invisible ones, which turn the direction of
/// writing.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible(character) {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Whether a character does something other than being seen.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_pass_for_something_else_is_spelled_out() {
        assert_eq!(
            visible("a\nb\t\u{1b}[31m\u{7f}"),
            "a\\nb\\t\\u{1b}[31m\\u{7f}"
        );
        assert_eq!(visible("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(visible("Grüße, 写真 'x' \\"), "Grüße, 写真 'x' \\");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("grün".to_owned(), 5), "grün");
        assert_eq!(cut("grün".to_owned(), 4), "grü…");
        assert_eq!(cut("grün".to_owned(), 3), "gr…");
        assert_eq!(excerpt("a\n\u{1b}\""), r#""a\n\u{1b}\"""#);
        assert_eq!(
            excerpt(&"🗃".repeat(100)),
            format!("\"{}\"…", "🗃".repeat(50))
        );
    }

    proptest! {
        #[test]
        fn no_text_gets_longer_than_it_may_or_keeps_what_is_invisible(
            text in any::<String>(),
            max_bytes in 0_usize..40,
        ) {
            prop_assert!(cut(text.clone(), max_bytes).len() <= max_bytes + '…'.len_utf8());
            prop_assert!(!visible(&text).contains(is_invisible));
            // What is made visible is what it looks like: nothing is left to do.
            prop_assert_eq!(visible(&visible(&text)), visible(&text));
            prop_assert!(!excerpt(&text).contains(char::is_control));
        }
    }
}
