use idna::domain_to_ascii_strict;
use unicode_normalization::UnicodeNormalization as _;

use super::normal::is_invisible;
use super::{AT_MOST, IdentifierError};

/// RFC 5321, 4.5.3.1.1.
const LOCAL_AT_MOST: usize = 64;

pub(super) fn normal(value: &str) -> Result<String, IdentifierError> {
    // Whatever Unicode has in store, what came of it stays as it is.
    once(value)
        .filter(|address| once(address).as_ref() == Some(address))
        .ok_or(IdentifierError::Email)
}

fn once(value: &str) -> Option<String> {
    let text: String = value.chars().filter(|c| !is_invisible(*c)).nfkc().collect();
    let (local, domain) = text.trim().split_once('@')?;
    let plain = local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
    // A letter and its mark may have a character of their own in lower case alone.
    let local: String = plain.unwrap_or(local).to_lowercase().nfkc().collect();
    if local.len() > LOCAL_AT_MOST || !local.split('.').all(is_atom) {
        return None;
    }
    let domain = domain_to_ascii_strict(domain).ok()?;
    // A domain of one label takes no mail, and digits at the end are an address of a machine.
    let (_, top) = domain.rsplit_once('.')?;
    if top.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let address = format!("{local}@{domain}");
    ("email:".len() + address.len() <= AT_MOST).then_some(address)
}

fn is_atom(part: &str) -> bool {
    let ascii = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let other = |c: char| !c.is_ascii() && !c.is_control() && !c.is_whitespace();
    !part.is_empty() && part.chars().all(|c| ascii(c) || other(c))
}
