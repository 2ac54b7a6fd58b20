//! The rules over HTTP: agents fetch them; people and programs change them.

mod bodies;
pub(super) mod changes;
mod serve;

pub(super) use self::serve::get;
