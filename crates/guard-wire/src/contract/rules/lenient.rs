//! Reads values that are not in the form of the contract, but whose meaning is clear.
//!
//! | type | accepted | read as |
//! |---|---|---|
//! | a number | `"7"`, `7.0` | `7` |
//! | a switch | `"true"`, `"False"`, `1`, `0` | `true`, `false` |
//! | a time | `2026-11-22T14:28:58+0530` | `2026-11-22T14:28:58+05:30` |
//! | | seconds or milliseconds since 1970 | `2026-11-22T08:58:58Z` |
//! | a block | `10.0.0.0/255.0.0.0` | `10.0.0.0/8` |

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::timestamp;

/// Since 1970, numbers in this range are seconds, of the years 2001 to 2286.
const SECONDS: std::ops::Range<f64> = 1e9..1e10;
/// And in this range milliseconds.
const MILLISECONDS: std::ops::Range<f64> = 1e12..1e13;

pub(super) fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    Integer::deserialize(from).map(|Integer(number)| number)
}

pub(super) fn some_integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<Integer>::deserialize(from)?;
    Ok(number.map(|Integer(number)| number))
}

pub(super) fn limits<'de, D>(from: D) -> Result<BTreeMap<String, (i64, i64)>, D::Error>
where
    D: Deserializer<'de>,
{
    let limits = BTreeMap::<String, (Integer, Integer)>::deserialize(from)?;
    let plain = limits
        .into_iter()
        .map(|(path, (Integer(requests), Integer(window)))| (path, (requests, window)));
    Ok(plain.collect())
}

pub(super) fn switch<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Switch::deserialize(from).map(|Switch(is_on)| is_on)
}

pub(super) fn some_switch<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    let switch = Option::<Switch>::deserialize(from)?;
    Ok(switch.map(|Switch(is_on)| is_on))
}

/// A time that may be absent, but not null.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Time::deserialize(from).map(|Time(text)| Some(text))
}

pub(super) fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let time = Option::<Time>::deserialize(from)?;
    Ok(time.map(|Time(text)| text))
}

pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let mut networks = Vec::<String>::deserialize(from)?;
    for network in &mut networks {
        if let Some((address, mask)) = network.split_once('/')
            && address.parse::<Ipv4Addr>().is_ok()
            && let Some(bits) = prefix(mask)
        {
            *network = format!("{address}/{bits}");
        }
    }
    Ok(networks)
}

/// The prefix length of a netmask such as `255.0.0.0`. It refuses `0.0.0.0`, which could also be
/// the host mask of a single address.
fn prefix(mask: &str) -> Option<u32> {
    let mask = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    let bits = mask.leading_ones();
    (bits > 0 && bits + mask.trailing_zeros() >= 32).then_some(bits)
}

struct Integer(i64);
struct Switch(bool);
struct Time(String);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("i64")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Integer, E> {
        Ok(Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Integer, E> {
        let fits = i64::try_from(number).map(Integer);
        fits.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Integer, E> {
        // Below this limit, a float represents exactly one integer.
        let is_exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
        #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
        is_exact
            .then_some(Integer(number as i64))
            .ok_or_else(|| E::invalid_type(Unexpected::Float(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
        let number = text.parse().ok().filter(|_| !text.starts_with('+'));
        number
            .map(Integer)
            .ok_or_else(|| E::invalid_type(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SwitchVisitor)
    }
}

struct SwitchVisitor;

impl Visitor<'_> for SwitchVisitor {
    type Value = Switch;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a boolean")
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Switch, E> {
        Ok(Switch(is_on))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Switch, E> {
        match number {
            0 | 1 => Ok(Switch(number == 1)),
            _ => Err(E::invalid_type(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Switch, E> {
        match &*text.to_ascii_lowercase() {
            "true" => Ok(Switch(true)),
            "false" => Ok(Switch(false)),
            _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        Ok(Time(with_colon(text).unwrap_or_else(|| text.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Time, E> {
        Err(E::invalid_type(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Time, E> {
        #[expect(clippy::cast_precision_loss, reason = "out of range long before")]
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Time, E> {
        let seconds = if MILLISECONDS.contains(&number) {
            number / 1e3
        } else {
            number
        };
        let time = timestamp::from_unix_seconds(seconds).filter(|_| SECONDS.contains(&seconds));
        time.map(|time| Time(time.to_string()))
            .ok_or_else(|| E::invalid_type(Unexpected::Float(number), &self))
    }
}

/// Adds the missing colon to the offset of a time.
fn with_colon(text: &str) -> Option<String> {
    let (front, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let (time, offset) = front.split_at_checked(front.len().checked_sub(3)?)?;
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hours = offset.strip_prefix(['+', '-'])?;
    let is_time = time.contains(':') && is_digits(hours) && is_digits(minutes);
    is_time.then(|| format!("{front}:{minutes}"))
}
