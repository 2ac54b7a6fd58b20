//! How a record passes its fields to the encoder.

use crate::record::field::Known;
use crate::record::kind::Kind;
use crate::value::{Tree, View};

/// The fields of a record. `write` may be called more than once.
pub trait Fields: Copy {
    /// Passes each field to `sink`, once.
    fn write(self, sink: &mut impl Sink);
}

impl<T: Tree> Fields for &[(T::Name, T)] {
    fn write(self, sink: &mut impl Sink) {
        for (name, value) in self {
            sink.field(name.as_ref(), &value.view());
        }
    }
}

/// Receives the fields of one record, one after the other.
pub trait Sink {
    /// The kind of record.
    fn kind(&self) -> Kind;

    /// Receives a field that the contract lists.
    fn known<T: Tree>(&mut self, field: Known, value: &View<'_, T>);

    /// Receives a field with another name.
    fn other<T: Tree>(&mut self, name: &str, value: &View<'_, T>);

    /// Receives a field with any name.
    fn field<T: Tree>(&mut self, name: &str, value: &View<'_, T>) {
        match Known::find(name) {
            Some(field) => self.known(field, value),
            None => self.other(name, value),
        }
    }

    /// Begins an object that is passed [`entry`](Self::entry) by entry until
    /// [`close`](Self::close). If it returns false, pass the object as one value instead.
    fn open(&mut self, field: Known) -> bool;

    /// Receives an entry of the object. If it returns false, [`close`](Self::close) the object
    /// as not whole, and pass it as one value.
    fn entry<T: Tree>(&mut self, name: &str, value: &View<'_, T>) -> bool;

    /// Ends the object. If it is not `whole`, the sink drops it.
    fn close(&mut self, whole: bool);
}
