use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mainstem_domain::{ChannelId, ItemId};

use crate::Limits;

/// Who may start: items of one channel take turns, so that a slow account delays only itself.
pub(crate) struct Lanes<T> {
    limits: Limits,
    channels: BTreeMap<ChannelId, Lane<T>>,
    in_hand: BTreeSet<ItemId>,
}

struct Lane<T> {
    in_work: usize,
    waiting: VecDeque<T>,
}

/// What to do with an item that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission<T> {
    /// Start it.
    Start(T),
    /// It waits here; [`Lanes::finish`] hands it out.
    Waits,
    /// Its channel has enough.
    Full(T),
    /// It is in hand already, handed out a second time.
    Twice(T),
}

impl<T> Lanes<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, channels: BTreeMap::new(), in_hand: BTreeSet::new() }
    }

    pub(crate) fn admit(&mut self, channel: &ChannelId, item: ItemId, work: T) -> Admission<T> {
        if self.in_hand.contains(&item) {
            return Admission::Twice(work);
        }
        let lane = self
            .channels
            .entry(channel.clone())
            .or_insert_with(|| Lane { in_work: 0, waiting: VecDeque::new() });
        let starts = lane.in_work < self.limits.in_work_by_channel;
        if !starts && lane.waiting.len() >= self.limits.waiting_by_channel {
            return Admission::Full(work);
        }
        self.in_hand.insert(item);
        if starts {
            lane.in_work += 1;
            Admission::Start(work)
        } else {
            lane.waiting.push_back(work);
            Admission::Waits
        }
    }

    /// An item that was started is let go; the one to start in its place, if any.
    pub(crate) fn finish(&mut self, channel: &ChannelId, item: ItemId) -> Option<T> {
        self.in_hand.remove(&item);
        let lane = self.channels.get_mut(channel)?;
        let next = lane.waiting.pop_front();
        if next.is_none() {
            lane.in_work = lane.in_work.saturating_sub(1);
            if lane.in_work == 0 {
                self.channels.remove(channel);
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_channel_waits_for_itself_and_the_others_start() {
        let limits = Limits { in_work_by_channel: 2, waiting_by_channel: 1, ..Limits::default() };
        let mut lanes = Lanes::new(limits);
        let (slow, other): (ChannelId, ChannelId) =
            ("slow".parse().unwrap(), "other".parse().unwrap());
        let item = |number: u8| ItemId::derive(&number.to_string());
        assert_eq!(lanes.admit(&slow, item(1), 1), Admission::Start(1));
        assert_eq!(lanes.admit(&slow, item(2), 2), Admission::Start(2));
        assert_eq!(lanes.admit(&slow, item(3), 3), Admission::Waits);
        assert_eq!(lanes.admit(&slow, item(4), 4), Admission::Full(4));
        assert_eq!(lanes.admit(&slow, item(3), 3), Admission::Twice(3));
        assert_eq!(lanes.admit(&other, item(5), 5), Admission::Start(5));

        assert_eq!(lanes.finish(&slow, item(1)), Some(3));
        assert_eq!(lanes.admit(&slow, item(6), 6), Admission::Waits);
        assert_eq!(lanes.finish(&slow, item(2)), Some(6));
        assert_eq!(lanes.finish(&slow, item(3)), None);
        assert_eq!(lanes.finish(&slow, item(6)), None);
        assert_eq!(lanes.finish(&other, item(5)), None);
        assert!(lanes.channels.is_empty() && lanes.in_hand.is_empty());
        assert_eq!(lanes.admit(&slow, item(1), 1), Admission::Start(1));
    }
}
