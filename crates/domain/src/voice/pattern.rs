//! Texts with variables in braces, and how they are kept within a limit.

use std::borrow::Cow;

/// A part of a template's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Said as it is.
    Literal(&'a str),
    /// Stands for a value: the name between the braces.
    Variable(&'a str),
    /// A brace that is part of no variable; said as it is.
    Stray(&'a str),
}

/// The longest name of a variable.
const NAME_AT_MOST: usize = 40;

/// Whether a variable can have this name: 1 to 40 of `a-z`, `0-9`, `-` and `_`, a letter first.
pub(crate) fn is_name(name: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    name.len() <= NAME_AT_MOST
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}

/// The text in its parts, which together are all of it.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = first(rest)?;
        rest = after;
        Some(piece)
    })
}

fn first(text: &str) -> Option<(Piece<'_>, &str)> {
    let brace = text.find(['{', '}']).unwrap_or(text.len());
    if brace > 0 {
        let (literal, rest) = text.split_at(brace);
        return Some((Piece::Literal(literal), rest));
    }
    let variable = text.strip_prefix('{').and_then(|inner| inner.split_once('}'));
    if let Some((name, rest)) = variable.filter(|(name, _)| is_name(name)) {
        return Some((Piece::Variable(name), rest));
    }
    let (brace, rest) = text.split_at_checked(1)?;
    Some((Piece::Stray(brace), rest))
}

/// The names of the variables in a text; one that stands twice comes twice.
pub(crate) fn variables(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Literal(_) | Piece::Stray(_) => None,
    })
}

/// How long LINE takes a text to be.
pub(crate) fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text with its values, in at most so many UTF-16 units.
///
/// Where there is no room for all of them, the longest values are cut, so that what the template
/// says stays whole. A value is never looked into for variables.
pub(super) fn fill(text: &str, value: impl Fn(&str) -> String, at_most: usize) -> String {
    let parts: Vec<(bool, Cow<'_, str>)> = pieces(text)
        .map(|piece| match piece {
            Piece::Literal(text) | Piece::Stray(text) => (false, Cow::Borrowed(text)),
            Piece::Variable(name) => (true, Cow::Owned(value(name))),
        })
        .collect();
    let total = |of_values: bool| -> usize {
        parts.iter().filter(|(is, _)| *is == of_values).map(|(_, part)| units(part)).sum()
    };
    let room = at_most.saturating_sub(total(false));
    let count = parts.iter().filter(|(is_value, _)| *is_value).count().max(1);
    let share = if total(true) <= room { room } else { room / count };
    let filled: String = parts
        .iter()
        .map(|(is_value, part)| if *is_value { cut(part, share) } else { Cow::Borrowed(&**part) })
        .collect();
    cut(&filled, at_most).into_owned()
}

/// The text, or as much of it as fits in so many UTF-16 units with an ellipsis behind it.
pub(super) fn cut(text: &str, at_most: usize) -> Cow<'_, str> {
    if units(text) <= at_most {
        return Cow::Borrowed(text);
    }
    let Some(mut room) = at_most.checked_sub(1) else { return Cow::Borrowed("") };
    let fits = |char: &char| {
        let left = room.checked_sub(char.len_utf16());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_around_a_name_stand_for_a_value() {
        use Piece::{Literal, Stray, Variable};
        let all = |text| pieces(text).collect::<Vec<_>>();
        assert_eq!(all("好{case}。"), [Literal("好"), Variable("case"), Literal("。")]);
        assert_eq!(all("{a}{b-1}"), [Variable("a"), Variable("b-1")]);
        let no_name = [Stray("{"), Literal("Case"), Stray("}")];
        assert_eq!(all("{Case}"), no_name);
        assert_eq!(all("{{a}"), [Stray("{"), Variable("a")]);
        assert_eq!(all("}"), [Stray("}")]);
        assert_eq!(all(""), []);
    }

    #[test]
    fn the_longest_values_are_cut_and_the_template_stays() {
        let value = |name: &str| match name {
            "long" => "𝄞".repeat(10),
            _ => "{long}".to_owned(),
        };
        assert_eq!(
            fill("a {long} b {x} c", value, 100),
            format!("a {} b {{long}} c", "𝄞".repeat(10))
        );
        assert_eq!(fill("a {long} b {x} c", value, 20), "a 𝄞𝄞… b {long} c");
        assert_eq!(fill("abcdef", value, 3), "ab…");
        assert_eq!(cut("𝄞𝄞", 3), "𝄞…");
        assert_eq!(cut("𝄞𝄞", 2), "…");
        assert_eq!(cut("x", 0), "");
    }
}
