use triomphe::Arc;

/// Entries on one page. What a snapshot shares and a change copies: 63 KiB for entries of 64 bytes.
/// A little less than a power of two, for which the allocator would take a quarter more (measured).
const PAGE: usize = 1_000;

/// A growing array in pages that clones share until one of them changes.
///
/// A clone counts up for each page, not for each entry. The counters stand apart from the entries,
/// near each other: among the entries each would be a wait for memory, and 10,000,000 of everything
/// 20 ms of waiting.
#[derive(Clone, Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Arc<Vec<T>>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T: Copy> Pages<T> {
    pub(super) fn len(&self) -> usize {
        let last = self.pages.last().map_or(0, |page| page.len());
        self.pages.len().saturating_sub(1) * PAGE + last
    }

    pub(super) fn get(&self, index: u32) -> &T {
        let index = index as usize;
        &self.pages[index / PAGE][index % PAGE]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        &mut Arc::make_mut(&mut self.pages[index / PAGE])[index % PAGE]
    }

    /// Where the next entry comes.
    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.len()).expect("less than 2^32 entries")
    }

    /// Adds an entry and says where.
    pub(super) fn push(&mut self, entry: T) -> u32 {
        let index = self.next();
        match self.pages.last_mut() {
            Some(page) if page.len() < PAGE => Arc::make_mut(page).push(entry),
            None => self.pages.push(Arc::new(vec![entry])),
            Some(_) => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(entry);
                self.pages.push(Arc::new(page));
            }
        }
        index
    }
}

/// Texts one after the other, each with its length, in pages like [`Pages`]. What is freed is
/// overwritten and stays unused until the next restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pages: Vec<Arc<Vec<u8>>>,
}

/// Bytes on one page; a text never goes over its end.
const TEXT_PAGE: usize = 64 * 1_024;

/// What a page begins with; from there it doubles until it is whole.
const TEXT_PAGE_AT_FIRST: usize = 64;

/// Where texts begin: so four bytes can address 16 GiB.
const ALIGN: usize = 4;

impl Texts {
    /// Keeps a text of at most 65,535 bytes and says where.
    pub(super) fn push(&mut self, text: &[u8]) -> u32 {
        let length = u16::try_from(text.len()).expect("a short text");
        let size = (2 + text.len()).next_multiple_of(ALIGN);
        if self.pages.last().is_none_or(|page| page.len() + size > TEXT_PAGE) {
            self.pages.push(Arc::new(Vec::with_capacity(TEXT_PAGE_AT_FIRST)));
        }
        let page = self.pages.len() - 1;
        let bytes = Arc::make_mut(&mut self.pages[page]);
        let at = bytes.len();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(text);
        bytes.resize(at + size, 0);
        u32::try_from((page * TEXT_PAGE + at) / ALIGN).expect("less than 16 GiB of texts")
    }

    pub(super) fn get(&self, place: u32) -> &[u8] {
        let (page, at) = Self::place(place);
        let bytes = &self.pages[page];
        let length = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        &bytes[at + 2..at + 2 + length]
    }

    /// Overwrites a text, so that what was erased is not found in memory either.
    pub(super) fn wipe(&mut self, place: u32) {
        let length = self.get(place).len();
        let (page, at) = Self::place(place);
        Arc::make_mut(&mut self.pages[page])[at..at + 2 + length].fill(0);
    }

    fn place(place: u32) -> (usize, usize) {
        let byte = place as usize * ALIGN;
        (byte / TEXT_PAGE, byte % TEXT_PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_stays_as_it_was() {
        let mut pages = Pages::default();
        for number in 0..3_000_u32 {
            assert_eq!(pages.push(number), number);
        }
        let before = pages.clone();
        *pages.get_mut(2_000) = 7;
        pages.push(8);
        assert_eq!((before.len(), *before.get(2_000)), (3_000, 2_000));
        assert_eq!((pages.len(), *pages.get(2_000), *pages.get(3_000)), (3_001, 7, 8));
    }

    #[test]
    fn texts_come_back_and_what_is_wiped_does_not() {
        let mut texts = Texts::default();
        let all: Vec<Vec<u8>> = (0..5_000_usize).map(|n| vec![b'a'; n % 300]).collect();
        let places: Vec<_> = all.iter().map(|text| texts.push(text)).collect();
        let large = texts.push(&vec![b'b'; 65_535]);
        for (text, place) in all.iter().zip(&places) {
            assert_eq!(texts.get(*place), &text[..]);
        }
        assert_eq!(texts.get(large).len(), 65_535);
        let before = texts.clone();
        texts.wipe(places[299]);
        assert_eq!(texts.get(places[299]), b"");
        assert_eq!(texts.get(places[298]), &all[298][..]);
        assert_eq!(before.get(places[299]), &all[299][..]);
    }
}
