//! The agents of a project: what they report, and which of them have which rules.

pub mod adoption;
mod check_ins;
pub mod subscribers;

pub(crate) use self::check_ins::CheckIns;
