//! The rules over HTTP: agents fetch them; people and programs change them.

mod answers;
mod asked;
mod bodies;
pub(super) mod changes;
mod described;
pub(super) mod drafts;
pub(super) mod history;
pub(super) mod in_force;
pub(super) mod serve;
