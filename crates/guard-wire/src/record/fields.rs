//! How the fields of a record are handed over.

use crate::record::field::Known;
use crate::record::kind::Kind;
use crate::value::{Tree, View};

/// The fields of a record. They may be asked for more than once.
pub trait Fields: Copy {
    /// Hands each field over, once.
    fn write(self, sink: &mut impl Sink);
}

impl<T: Tree> Fields for &[(T::Name, T)] {
    fn write(self, sink: &mut impl Sink) {
        for (name, value) in self {
            sink.field(name.as_ref(), &value.view());
        }
    }
}

/// What takes the fields of one record, one after the other.
pub trait Sink {
    /// What kind of record it is.
    fn kind(&self) -> Kind;

    /// Takes a field that the contract lists.
    fn known<T: Tree>(&mut self, field: Known, value: &View<'_, T>);

    /// Takes a field of another name.
    fn other<T: Tree>(&mut self, name: &str, value: &View<'_, T>);

    /// Takes the field of this name.
    fn field<T: Tree>(&mut self, name: &str, value: &View<'_, T>) {
        match Known::find(name) {
            Some(field) => self.known(field, value),
            None => self.other(name, value),
        }
    }

    /// Begins a field that is an object and comes [`entry`](Self::entry) by entry until
    /// [`close`](Self::close); whether it may. Else it is handed over whole.
    fn open(&mut self, field: Known) -> bool;

    /// Takes an entry of the object that was begun; whether it did. Else the object is to
    /// be ended, and handed over whole.
    fn entry<T: Tree>(&mut self, name: &str, value: &View<'_, T>) -> bool;

    /// Ends the object that was begun. If it is not `whole` nothing of it is taken.
    fn close(&mut self, whole: bool);
}
