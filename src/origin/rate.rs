//! Rates of requests: `--max-rate`.

use std::fmt;

/// Most requests in a unit of time, and in a burst.
const MAX_COUNT: u32 = 1_000_000;

/// A rate of requests: `10/s`, `100/m,20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRate {
    count: u32,
    unit: RateUnit,
    burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateUnit {
    Second,
    Minute,
    Hour,
}

impl RateUnit {
    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
        }
    }
}

impl MaxRate {
    /// Parses `COUNT/s`, `COUNT/m` or `COUNT/h`, with `,BURST` or without. Without it the burst is what is allowed in a
    /// second, at least 1. `None` for any other text, and for numbers that are not from 1 to 1,000,000.
    pub fn parse(text: &str) -> Option<Self> {
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(number(burst)?)),
            None => (text, None),
        };
        let (count, unit) = rate.split_once('/')?;
        let count = number(count)?;
        let unit = match unit.trim() {
            "s" => RateUnit::Second,
            "m" => RateUnit::Minute,
            "h" => RateUnit::Hour,
            _ => return None,
        };
        let usual = (count / unit.seconds()).max(1);
        let burst = burst.unwrap_or(usual);
        Some(Self { count, unit, burst })
    }

    /// For how many nanoseconds no request may go, if the bucket is full again at `full_at`.
    pub(super) fn left_nanos(self, full_at: u64, now: u64) -> u64 {
        let tolerance = self
            .interval_nanos()
            .saturating_mul(u64::from(self.burst - 1));
        full_at.saturating_sub(now).saturating_sub(tolerance)
    }

    /// The time between two requests, in nanoseconds.
    pub(super) fn interval_nanos(self) -> u64 {
        u64::from(self.unit.seconds()) * 1_000_000_000 / u64::from(self.count)
    }
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain)?;
    (1..=MAX_COUNT).contains(&number).then_some(number)
}

impl fmt::Display for MaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit, burst) = (self.count, self.unit.letter(), self.burst);
        write!(f, "{count}/{unit},{burst}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_parsed_with_their_burst_and_shown_as_they_are_parsed() {
        for (given, shown) in [
            ("10/s", "10/s,10"),
            ("10/s,50", "10/s,50"),
            ("120/m", "120/m,2"),
            ("59/m", "59/m,1"),
            (" 1000 / h , 5 ", "1000/h,5"),
        ] {
            let rate = MaxRate::parse(given).unwrap();
            assert_eq!(rate.to_string(), shown);
            assert_eq!(MaxRate::parse(shown), Some(rate));
        }
        for wrong in [
            "",
            "10",
            "/s",
            "10/",
            "10/d",
            "0/s",
            "10/s,0",
            "10/s,",
            "-1/s",
            "+1/s",
            "1.5/s",
            "10/s,1,1",
            "1000001/s",
            "99999999999/s",
        ] {
            assert_eq!(MaxRate::parse(wrong), None, "{wrong}");
        }
    }
}
