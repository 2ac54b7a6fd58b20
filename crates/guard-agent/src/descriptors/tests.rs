use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use super::*;

/// Closes a descriptor as a daemon does that does not know its owner.
fn close(file: &File) {
    #[expect(unsafe_code, reason = "that is the fault")]
    // SAFETY: the value that still has the number recognizes the new file by its identity.
    drop(unsafe { File::from_raw_fd(file.as_raw_fd()) });
}

fn pipe() -> (File, File) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let file = |fd: std::os::fd::OwnedFd| File::from(fd);
    (file(reader.into()), file(writer.into()))
}

#[test]
fn a_descriptor_closed_by_the_program_is_neither_used_nor_closed_again() {
    let (reader, writer) = pipe();
    let kept = Kept::new(reader);
    assert!(kept.get().is_some());
    let before = losses();
    close(kept.file.as_ref().expect("held"));
    // One of these files gets the number.
    let mut theirs: Vec<_> = (0..8).map(|_| pipe()).collect();
    assert!(kept.get().is_none());
    assert!(losses() > before);
    drop((kept, writer));
    for (reader, writer) in &mut theirs {
        writer.write_all(b"x").expect("open");
        reader.read_exact(&mut [0]).expect("open");
    }
}

#[test]
fn work_ends_when_its_descriptors_are_lost() {
    let runtime = runtime().expect("a runtime");
    let witness = runtime.witness();
    let never = unless_lost(&witness, std::future::pending::<()>());
    let kept = witness.0.as_ref().expect("on Unix");
    close(kept.file.as_ref().expect("held"));
    assert!(runtime.get().is_none());
    // The runtime belongs to this test and still has its descriptors.
    let held = runtime.held.as_ref().expect("held");
    assert_eq!(held.block_on(never), None);
}
