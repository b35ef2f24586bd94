use std::time::Duration;

use mainstem_domain::notification::Outcome;
use mainstem_domain::{ItemId, derive_uuid};
use mainstem_line::api::Answer;
use mainstem_line_client::Heard;

/// By which call an item goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As the answer to an event.
    Reply,
    /// On the account's own, with a retry key.
    Push,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The item ended so.
    Record(Outcome),
    /// The reply token is dead and nothing was said with it: the same as a push.
    PushInstead,
    /// The same again later.
    GiveBack(Pause),
}

/// How long later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It may pass soon: longer with each attempt.
    Short,
    /// It passes when the month turns, or somebody buys more.
    Quota,
    /// It passes when somebody acts.
    Long,
}

/// Decides by the table in the crate's head.
///
/// `first` is true when no earlier attempt can have replied. A later attempt cannot tell whether
/// its token is dead because it was used or because it is old.
pub fn decide(way: Way, first: bool, heard: Heard) -> Next {
    let answer = match heard {
        Heard::Answer(answer) => answer,
        Heard::NotSent => return Next::GiveBack(Pause::Short),
        Heard::Nothing => Answer::Retry,
    };
    match (answer, way) {
        (Answer::Done | Answer::AcceptedBefore, _) => Next::Record(Outcome::Sent),
        (Answer::InvalidReplyToken, Way::Reply) if first => Next::PushInstead,
        (Answer::InvalidReplyToken | Answer::Retry, Way::Reply) => failed("reply unknown"),
        (Answer::InvalidReplyToken, Way::Push) => failed("LINE: Invalid reply token"),
        (Answer::Refused { message }, _) => failed(&format!("LINE: {message}")),
        (Answer::Unauthorized { .. }, _) => Next::GiveBack(Pause::Long),
        (Answer::MonthlyLimit, Way::Push) => Next::GiveBack(Pause::Quota),
        // Replies are not counted by the month, so one that meets that limit may pass soon.
        (Answer::RateLimited, _)
        | (Answer::MonthlyLimit, Way::Reply)
        | (Answer::Retry, Way::Push) => Next::GiveBack(Pause::Short),
    }
}

fn failed(reason: &str) -> Next {
    Next::Record(Outcome::Failed { reason: reason.to_owned().into() })
}

impl Pause {
    /// Between half and one and a half times 1 s, 2 s, 4 s … 5 min, or 5 or 15 min. Which of it follows
    /// from the item, so that items that failed together do not come back together.
    pub fn length(self, item: ItemId, attempt: u64) -> Duration {
        let middle = match self {
            Self::Short => {
                let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(9);
                (Duration::from_secs(1) * 2_u32.pow(doublings)).min(Duration::from_mins(5))
            }
            Self::Quota => Duration::from_mins(5),
            Self::Long => Duration::from_mins(15),
        };
        let [.., high, low] = derive_uuid(&format!("{item} {attempt}")).into_bytes();
        let share = f64::from(u16::from_be_bytes([high, low])) / f64::from(u16::MAX);
        middle.mul_f64(0.5 + share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let sent = || Next::Record(Outcome::Sent);
        let (short, long) = (Next::GiveBack(Pause::Short), Next::GiveBack(Pause::Long));
        let unknown = || failed("reply unknown");
        let message = || "no".to_owned();
        for (heard, first_reply, later_reply, push) in [
            (Heard::Answer(Answer::Done), sent(), sent(), sent()),
            (Heard::Answer(Answer::AcceptedBefore), sent(), sent(), sent()),
            (
                Heard::Answer(Answer::InvalidReplyToken),
                Next::PushInstead,
                unknown(),
                failed("LINE: Invalid reply token"),
            ),
            (
                Heard::Answer(Answer::Refused { message: message() }),
                failed("LINE: no"),
                failed("LINE: no"),
                failed("LINE: no"),
            ),
            (
                Heard::Answer(Answer::Unauthorized { message: message() }),
                long.clone(),
                long.clone(),
                long.clone(),
            ),
            (Heard::Answer(Answer::RateLimited), short.clone(), short.clone(), short.clone()),
            (
                Heard::Answer(Answer::MonthlyLimit),
                short.clone(),
                short.clone(),
                Next::GiveBack(Pause::Quota),
            ),
            (Heard::Answer(Answer::Retry), unknown(), unknown(), short.clone()),
            (Heard::Nothing, unknown(), unknown(), short.clone()),
            (Heard::NotSent, short.clone(), short.clone(), short),
        ] {
            assert_eq!(decide(Way::Reply, true, heard.clone()), first_reply, "{heard:?}");
            assert_eq!(decide(Way::Reply, false, heard.clone()), later_reply, "{heard:?}");
            for first in [true, false] {
                assert_eq!(decide(Way::Push, first, heard.clone()), push, "{heard:?}");
            }
        }
    }

    #[test]
    fn pauses_grow_differ_and_end() {
        let (one, two) = (ItemId::derive("1"), ItemId::derive("2"));
        assert_ne!(Pause::Short.length(one, 1), Pause::Short.length(two, 1));
        assert_eq!(Pause::Short.length(one, 1), Pause::Short.length(one, 1));
        for (attempt, middle) in [(0, 1), (1, 1), (2, 2), (5, 16), (10, 300), (u64::MAX, 300)] {
            let pause = Pause::Short.length(one, attempt).as_secs_f64();
            let middle = f64::from(middle);
            assert!((middle * 0.5..=middle * 1.5).contains(&pause), "{attempt}: {pause}");
        }
        assert!(Pause::Long.length(one, 1) >= Duration::from_secs(450));
    }
}
