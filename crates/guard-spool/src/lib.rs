//! The durable queue on disk: an append-only, segmented, checksummed log of
//! encoded records. Synchronous; one owner on one thread, which waits for the disk,
//! and beside it threads that append and never do ([`Appender`]).
//!
//! ```
//! use guard_spool::{Kind, Options, Spool};
//!
//! let root = tempfile::tempdir()?;
//! let mut spool = Spool::open(root.path(), Options::default())?;
//! let tokens = spool.append(&[(Kind::Event, b"{}".as_slice())])?;
//! spool.tick()?; // often: syncs when it is due
//! spool.acknowledge(&tokens)?; // after its delivery
//! spool.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This page is the specification of the format and of what it promises. The
//! tests hold the code to it: a model runs tens of thousands of random sequences
//! of calls, kills, power cuts and faults over a simulated disk, and every byte of
//! a three-segment spool is damaged in turn.
//!
//! # What is promised
//!
//! 1. **Nothing that was appended and not acknowledged is lost**, but in a power
//!    cut: then what was appended since the last successful sync may be. That is
//!    at most the sync interval (200 ms by default) with [`SyncPolicy::Interval`],
//!    and nothing with [`SyncPolicy::Always`]. A kill of the process loses nothing
//!    that [`append`](Spool::append) has returned for.
//! 2. **Nothing that was acknowledged is given again** by the same [`Spool`] value,
//!    nor after a kill, unless the file system refused to keep the
//!    acknowledgement. After a power cut, records that were acknowledged within the
//!    last [`ACK_SYNC_INTERVAL`] may be given again: delivery is at least once.
//! 3. **No record is ever given changed**, whatever stands in the files.
//! 4. **Damage costs the records it hits, and no others.** What cannot be read is
//!    counted in [`Usage`], and its segment is kept aside.
//! 5. **A call that fails can be repeated.** A failed append left nothing behind
//!    that this process would give; a process that dies before the next sync may
//!    leave some of it for its successor.
//! 6. **Bounds hold.** Records are not appended beyond [`Options::max_bytes`];
//!    headers and seals (45 bytes for each segment) and later acknowledgements come
//!    on top, and one segment while one is written anew. Memory: three bits for
//!    each record in segments that were read, the bytes since the last sync (two
//!    segments at most), and one segment while one is read.
//! 7. **Opening reads nothing**, and waits for a sync only where the root is made.
//!    The first [`tick`](Spool::tick) reads no records either: both ends of each
//!    segment and its acknowledgements.
//! 8. **An appender waits for nothing but its write.** The owner never holds its lock
//!    while it asks the file system for anything.
//! 9. **Others cannot take records away unnoticed.** If somebody removes, moves or
//!    replaces files of the spool, [`tick`](Spool::tick) notices within
//!    [`CHECK_INTERVAL`], says so, and makes the files again. It tells which records the
//!    owner has to append again ([`Spool::forgotten`]) and counts those that are lost.
//!
//! # Layout
//!
//! ```text
//! <root>/                                  0700
//!   1763942400123-4711-00c0ffee/           one process: creation (ms), process id, random
//!     lock                                 locked (flock) for as long as the process lives
//!     0000000001-9f3a2b1c.log              a segment: number, salt
//!     0000000001-9f3a2b1c.ack              its sidecar: what of it is acknowledged
//!     0000000001-9f3a2b1c.tmp              what is to replace one of them
//!   quarantine/                            quarantine-<user id>/ where the first is another user's
//!     1763942400123-0badcafe.event         a poison record (.event, .metric) as it was,
//!     1763942400123-0badcafe.json          why: {"kind", "bytes", "reason"}
//!     1763942400123-0badf00d.segment       a damaged segment as it was
//! ```
//!
//! All numbers in files are little-endian. All checksums are CRC-32C, each started
//! with the segment's salt in place of 0, so that bytes of one segment mean
//! nothing in another, and nobody who chooses the payload of records can forge
//! frames. The salt is random and stands in the file's name alone.
//!
//! **A segment** is a header and frames. It ends before it would be longer than
//! [`Options::segment_bytes`].
//!
//! ```text
//! header   "GRDSPOOL" | version u32 = 1 | created u64 | crc u32                 24 bytes
//! frame    salt u32 | index u32 | len u32 | tag u8 | payload crc u32 | crc u32    21 bytes
//!          payload                                                           len bytes
//! ```
//!
//! `created` is wall time in milliseconds; within a directory it never falls. A
//! frame's `crc` covers the 17 bytes before it. `index` numbers the records of a
//! segment, rising, at most 2^24 of them; gaps are records that were removed. The
//! tag is 0 for an event, 1 for a metric, and 0x53 for the **seal**, whose index
//! says how many indices were given and which has no payload. A segment is sealed
//! after it was synced and is never appended to again, nor is any segment of an
//! earlier process. A segment of another version is left alone.
//!
//! **A sidecar** is groups of `first u32 | words u32 | crc u32 | words * 4 bytes`:
//! a bitmap of the acknowledged indices from `first` on. Readers stop at the first
//! group that is not whole.
//!
//! **A token** is a number of the segment that this process gives it, and the
//! index: it means nothing to another process.
//!
//! # Reading, and what cannot be read
//!
//! A reader goes from frame to frame. Where none stands it looks for the next
//! place at which a whole one does: the salt, a sound head, a sound payload, and an
//! index higher than the last. The bytes between are unreadable. In a segment
//! without a seal they are counted as torn: what a kill or a power cut left of the
//! last writes. In a sealed one they are counted as damaged. A sealed segment with
//! unreadable bytes, and any with readable records behind them, goes to the
//! quarantine instead of being removed.
//!
//! # Writing, and what fails
//!
//! [`append`](Spool::append) writes a group of frames with one plain write. If it
//! fails (full disk, input/output error, read-only), the file is cut back to where
//! it was.
//!
//! There is a segment to append to from the start, and the next one as soon as that
//! is half full. An [`Appender`] goes on to it by itself; the full one is synced and
//! sealed by the next [`tick`](Spool::tick). Until then, or where anything fails, it
//! appends nothing, and [`append`](Spool::append) does what is to be done first. A
//! segment without records is removed.
//!
//! A sync covers what was appended before it began; appenders go on meanwhile.
//!
//! If the cut or a sync fails, the file is no longer trusted: after a failed
//! `fsync` the system may drop what it had not written and let the next `fsync`
//! succeed. The bytes since the last successful sync are therefore kept in memory,
//! and before anything else is appended, the segment is *written anew*: what was
//! durable of it and what was kept go to a `.tmp` file, sealed, which is synced and
//! renamed over the segment; then the directory is synced. Salt and indices stay,
//! so tokens and sidecar keep their meaning.
//!
//! # Acknowledging
//!
//! [`acknowledge`](Spool::acknowledge) writes to the sidecar at once and syncs it
//! within [`ACK_SYNC_INTERVAL`]. A segment is removed with its last record. Its
//! sidecar is removed after the directory was synced, so that a segment which a
//! power cut brings back finds it. A sidecar that could not be written or synced is
//! written anew.
//!
//! A record stays on disk until its segment goes. When the spool is full, segments
//! of which half the records or more are acknowledged are written anew without
//! them. If that is not enough, `append` says [`AppendError::Full`], and
//! [`discard_oldest`](Spool::discard_oldest) lets the oldest go.
//!
//! # Dead processes
//!
//! A directory belongs to whoever holds its lock; the system lets go of it when
//! the process ends. With its first tick, and every [`ADOPTION_INTERVAL`], a process
//! adopts the directories whose lock is free, up to [`MAX_ADOPTED`], the newest
//! first: it takes the lock, and keeps it if the lock's file still is where it
//! was (its last holder may have removed it meanwhile). So never more than one
//! process reads a directory. [`load`](Spool::load) gives its records; its
//! segments without a seal are written anew, one with each
//! [`tick`](Spool::tick), so that they are durable whatever their writer had
//! synced. The directory is removed when it is empty.
//!
//! A root may belong to several users. A directory of another user that cannot be
//! entered is left to processes of that user.
//!
//! The child of a fork inherits its parent's locks and gives them up with
//! [`Lease::abandon`].
//!
//! # What others do
//!
//! A file that was removed can still be written and synced, and is gone when the process
//! ends. So [`tick`](Spool::tick) looks every [`CHECK_INTERVAL`], while the spool has
//! records, whether each path still leads to the file that was written. It compares
//! device and inode ([`FileId`]) of the lock and of each segment, and checks that no
//! segment is shorter than what was written. [`Spool::sync`] and [`Spool::close`] look
//! too.
//!
//! | at its path | what the spool does |
//! |---|---|
//! | the lock is missing, in the same directory | it takes the lock again |
//! | the same, and another process holds the new lock | that process has adopted the directory: what rested there is counted as [taken](Usage::taken), what the owner holds is missed |
//! | another directory, or none: removed, moved, covered by a mount | it makes a directory with another name. If the old one comes back, it is adopted like that of a dead process. What rested there is counted as [damaged](Usage::damaged), what the owner holds is missed |
//! | a segment is missing, shorter, or another file | it reads what is there now. Records that are not are counted or missed in the same way |
//!
//! Records that the owner holds and that are missed are told once by
//! [`Spool::forgotten`]; the owner appends them again. The call that noticed returns an
//! error that names the path.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]
#![forbid(unsafe_code)]

mod directory;
mod error;
mod format;
pub mod inspect;
mod options;
mod platform;
mod quarantine;
mod records;
mod segment;
#[cfg(feature = "sim")]
pub mod sim;
mod spool;
mod usage;
mod write_head;

pub use directory::{Lease, MAX_ADOPTED};
pub use error::{AppendError, IoError, OpenError, OptionsError};
pub use guard_wire::Kind;
pub use options::{
    DEFAULT_MAX_BYTES, DEFAULT_MAX_RECORD, DEFAULT_QUARANTINE_BYTES, DEFAULT_SEGMENT_BYTES,
    DEFAULT_SYNC_INTERVAL, MAX_SEGMENT_BYTES, Options, SyncPolicy,
};
pub use platform::clock::{Clock, SystemClock};
pub use platform::fs::{Disk, Entry, File, FileId, FileSystem, Lock};
pub use quarantine::{MAX_REASON, QUARANTINE_BLOCK};
pub use spool::compact::Discarded;
pub use spool::watch::CHECK_INTERVAL;
pub use spool::{ACK_SYNC_INTERVAL, ADOPTION_INTERVAL, Loaded, RETRY, Spool, Token};
pub use usage::{Counts, Usage};
pub use write_head::Appender;
