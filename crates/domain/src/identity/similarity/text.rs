//! Text made comparable, and how far two texts are from each other.

use std::collections::BTreeSet;

use jiff::civil::Date;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// What people and systems write where they know nothing.
const NOTHING: [&str; 6] = ["null", "none", "n a", "unknown", "anonymous", "無"];

/// What is said before or after a name, or in a store's list instead of a given name (陳小姐).
const TITLES: [&str; 8] = ["mr", "mrs", "ms", "miss", "先生", "小姐", "女士", "太太"];

/// Days that systems write where they know none: the first day that they can say, or the first of
/// their calendar.
const NO_DAY: [&str; 8] = [
    "0001-01-01",
    "1753-01-01",
    "1899-12-30",
    "1899-12-31",
    "1900-01-01",
    "1911-01-01",
    "1912-01-01",
    "1970-01-01",
];

/// The words of a text: NFKC, lower case, without accents and punctuation, one blank between two
/// words, and 台 for 臺, as both are written for the same places. Nothing, if there is no letter in
/// it, or if it is what is written for nothing.
pub(super) fn words(text: &str) -> Option<String> {
    let mut words = String::with_capacity(text.len());
    let plain = text.nfkd().flat_map(char::to_lowercase).nfkd().filter(|c| !is_accent(*c)).nfkc();
    let mut blank = false;
    for c in plain {
        match c {
            '\'' | '\u{2019}' => {}
            '臺' => push(&mut words, &mut blank, '台'),
            c if c.is_alphanumeric() || is_combining_mark(c) => push(&mut words, &mut blank, c),
            _ => blank = true,
        }
    }
    let told = !NOTHING.contains(&words.as_str()) && words.chars().any(char::is_alphabetic);
    told.then_some(words)
}

/// The words of a name, without titles.
pub(super) fn name(text: &str) -> Option<String> {
    let words = words(text)?;
    let words: Vec<&str> =
        words.split(' ').filter(|word| !TITLES.contains(word)).map(without_title).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// 王小明 of 王小明先生.
fn without_title(word: &str) -> &str {
    let mut dense = TITLES.iter().filter(|title| title.chars().all(is_dense));
    dense.find_map(|title| word.strip_suffix(title)).unwrap_or(word)
}

fn push(words: &mut String, blank: &mut bool, c: char) {
    if *blank && !words.is_empty() {
        words.push(' ');
    }
    *blank = false;
    words.push(c);
}

/// Marks over and under Latin, Greek and Cyrillic letters, which are often left out. Those of other
/// scripts change what is read, and stay.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// Whether a sign stands for a syllable or a word (Han, Kana, Hangul, and so on), so that one other
/// sign makes another name.
fn is_dense(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{a000}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// The parts of a name that stand for themselves in any order: each dense sign, and each word of
/// other scripts.
pub(super) fn parts(words: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for word in words.split(' ') {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let end = if is_dense(first) {
                first.len_utf8()
            } else {
                rest.find(is_dense).unwrap_or(rest.len())
            };
            let (part, after) = rest.split_at(end);
            parts.push(part);
            rest = after;
        }
    }
    parts.sort_unstable();
    parts
}

/// Whether the two differ by no more than slips of the pen: characters that are wrong, missing or
/// too many, or two neighbours exchanged (optimal string alignment). None is let pass in up to 3
/// characters, 1 in 4 to 7, 2 in more; in a text with dense signs, where 王小明 and 王大明 are two
/// people, 1 from 4 on. The longer text counts.
pub(super) fn is_slip(one: &str, other: &str) -> bool {
    let (ones, others) = (one.chars().count(), other.chars().count());
    let dense = one.chars().chain(other.chars()).any(is_dense);
    let most = match ones.max(others) {
        0..=3 => 0,
        4..=7 => 1,
        _ if dense => 1,
        _ => 2,
    };
    ones.abs_diff(others) <= most && strsim::osa_distance(one, other) <= most
}

/// Whether all words of the one stand in the other, and there are enough of them: `least` words,
/// or a dense one of at least two signs.
pub(super) fn is_part(one: &str, other: &str, least: usize) -> bool {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) =
        (one.split(' ').collect(), other.split(' ').collect());
    let (few, many) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let enough = few.len() >= least
        || few.iter().any(|word| word.chars().all(is_dense) && word.chars().nth(1).is_some());
    enough && few.is_subset(&many)
}

/// Whether the one begins with all of the other, which has at least two dense signs: 台北 and
/// 台北市.
pub(super) fn is_start(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.starts_with(short) && short.chars().all(is_dense) && short.chars().nth(1).is_some()
}

/// Whether a name is more than one word, or more than one dense sign. One word alone, such as the
/// `Amy` of a chat, tells next to nothing.
pub(super) fn is_whole(words: &str) -> bool {
    parts(words).len() > 1
}

/// Given and family name in one piece, as they are written together in their script.
pub(super) fn whole(given: &str, family: &str) -> String {
    let dense = |text: &str| text.chars().all(is_dense);
    if dense(given) && dense(family) {
        format!("{family}{given}")
    } else {
        format!("{given} {family}")
    }
}

/// A day, in ISO 8601, from `1990-05-12`, with `/`, `.` or nothing between, a time after it, or
/// `1990年5月12日`, all also by the calendar of the Republic of China when it is named
/// (`民國79年5月12日`). Nothing for what is no day, or stands for none.
pub(super) fn day(text: &str) -> Option<String> {
    let plain: String = text.nfkc().collect();
    let (plain, from_year) = match plain.trim().strip_prefix("民國") {
        Some(rest) => (rest.trim().to_owned(), 1911),
        None => (plain.trim().to_owned(), 0),
    };
    let plain = plain.split(['T', ' ']).next()?.trim_end_matches('日');
    let numbers: Vec<&str> = if plain.len() == 8 && plain.bytes().all(|b| b.is_ascii_digit()) {
        vec![&plain[..4], &plain[4..6], &plain[6..]]
    } else {
        plain.split(['-', '/', '.', '年', '月']).collect()
    };
    let [year, month, day] = numbers[..] else { return None };
    if numbers.iter().any(|number| !number.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    if from_year == 0 && year.len() != 4 {
        return None;
    }
    let year = year.parse::<i16>().ok()?.checked_add(from_year)?;
    let date = Date::new(year, month.parse().ok()?, day.parse().ok()?).ok()?;
    let iso = date.to_string();
    (year > 0 && !NO_DAY.contains(&iso.as_str())).then_some(iso)
}

/// Whether two days differ as they do when they are typed wrong.
pub(super) fn is_day_slip(one: &str, other: &str) -> bool {
    let (Ok(one_day), Ok(other_day)) = (one.parse::<Date>(), other.parse::<Date>()) else {
        return false;
    };
    let exchanged = Date::new(one_day.year(), one_day.day(), one_day.month());
    exchanged.is_ok_and(|exchanged| exchanged == other_day)
        || one_day.tomorrow().is_ok_and(|next| next == other_day)
        || other_day.tomorrow().is_ok_and(|next| next == one_day)
        || strsim::osa_distance(one, other) <= 1
}

/// The local part of an address as it tells a person: without dots, and without what follows a
/// plus. Nothing for what many have: up to 4 characters, or a role (RFC 2142 and its like).
pub(super) fn telling_local_part(address: &str) -> Option<String> {
    const ROLES: [&str; 13] = [
        "abuse",
        "admin",
        "contact",
        "customer",
        "hostmaster",
        "marketing",
        "noreply",
        "office",
        "postmaster",
        "sales",
        "security",
        "service",
        "support",
    ];
    let (local, _) = address.rsplit_once('@')?;
    let local = local.split('+').next().unwrap_or(local);
    let local: String = local.chars().filter(|c| !matches!(c, '.' | '_' | '-')).collect();
    let tells = local.chars().nth(4).is_some() && !ROLES.contains(&local.as_str());
    tells.then_some(local)
}

/// Whether two local parts differ by slips in their letters. Other digits make another person:
/// `chen0912` and `chen0913` are two.
pub(super) fn is_local_part_slip(one: &str, other: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    is_slip(one, other) && digits(one) == digits(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_made_comparable() {
        for (text, expected) in [
            ("  Mary\u{3000} Ann ", Some("mary ann")),
            ("O'Brien-Smith", Some("obrien smith")),
            ("José NGUYỄN", Some("jose nguyen")),
            ("Ａｍｙ", Some("amy")),
            ("臺北市", Some("台北市")),
            ("王小明🌸", Some("王小明")),
            ("が", Some("が")),
            ("null", None),
            ("N/A", None),
            ("000", None),
            ("-1", None),
            ("🌸", None),
            ("", None),
        ] {
            assert_eq!(words(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_name_is_taken_without_titles() {
        for (text, expected) in [
            ("陳小姐", Some("陳")),
            ("小姐", None),
            ("王小明 先生", Some("王小明")),
            ("Ms. Mei-Ling Chen", Some("mei ling chen")),
            ("Miss", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_part_is_told_from_another_name() {
        for (one, other, least, expected) in [
            ("mary", "mary ann", 1, true),
            ("robert allen", "robert james allen", 2, true),
            ("robert", "robert allen", 2, false),
            ("王小明", "王小明 ming", 2, true),
            ("a a", "a b", 1, true),
            ("a c", "a b", 1, false),
        ] {
            assert_eq!(is_part(one, other, least), expected, "{one} {other}");
            assert_eq!(is_part(other, one, least), expected, "{other} {one}");
        }
        assert!(is_start("台北", "台北市信義區") && is_start("台北市", "台北"));
        assert!(!is_start("台北市", "台中市") && !is_start("台", "台北"));
    }

    #[test]
    fn slips_are_told_from_other_names() {
        for (one, other, slip) in [
            ("lucas", "luas", true),
            ("thomas", "thmoas", true),
            ("christina", "kristina", true),
            ("amy", "may", false),
            ("王小明", "王大明", false),
            ("小明", "曉明", false),
            ("司馬相如", "司馬湘如", true),
            ("robert", "rupert", false),
        ] {
            assert_eq!(is_slip(one, other), slip, "{one} {other}");
        }
    }

    #[test]
    fn days_are_read_as_they_are_written() {
        for text in [
            "1990-05-12",
            "1990/5/12",
            "1990.05.12",
            "19900512",
            "１９９０年５月１２日",
            "民國79年5月12日",
            "民國 79/05/12",
            "1990-05-12T00:00:00+08:00",
        ] {
            assert_eq!(day(text).as_deref(), Some("1990-05-12"), "{text}");
        }
        for text in ["", "1990-02-30", "79/05/12", "1900-01-01", "12/05/1990", "民國", "1990-05"]
        {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_typed_wrong_is_close() {
        for (one, other, slip) in [
            ("1990-05-12", "1990-12-05", true),
            ("1990-05-12", "1991-05-12", true),
            ("1990-05-12", "1909-05-12", true),
            ("1990-05-31", "1990-06-01", true),
            ("1990-05-12", "1991-05-13", false),
        ] {
            assert_eq!(is_day_slip(one, other), slip, "{one} {other}");
        }
    }

    #[test]
    fn a_local_part_tells_somebody_or_nobody() {
        for (address, local) in [
            ("mei.ling+shop@example.tw", Some("meiling")),
            ("amy@example.tw", None),
            ("service@example.tw", None),
        ] {
            assert_eq!(telling_local_part(address).as_deref(), local);
        }
        assert!(is_local_part_slip("chenmeiling88", "chenmieling88"));
        assert!(!is_local_part_slip("chen0912", "chen0913"));
    }
}
