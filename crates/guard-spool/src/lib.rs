//! A durable queue on disk: an append-only, segmented, checksummed log of encoded records.
//!
//! It is synchronous. One thread owns the [`Spool`] and waits for the disk; other threads can
//! append through an [`Appender`] without waiting for a sync.
//!
//! ```
//! use guard_spool::{Kind, Options, Spool};
//!
//! let root = tempfile::tempdir()?;
//! let mut spool = Spool::open(root.path(), Options::default())?;
//! let tokens = spool.append(&[(Kind::Event, b"{}".as_slice())])?;
//! spool.tick()?; // call it often: it syncs when a sync is due
//! spool.acknowledge(&tokens)?; // after delivery
//! spool.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This page specifies the file format and its guarantees. The tests check the code against
//! it: a model runs tens of thousands of random sequences of calls, kills, power cuts and
//! faults on a simulated disk, and another test damages every byte of a three-segment spool in
//! turn.
//!
//! # Guarantees
//!
//! 1. **The spool loses no record that was appended and not acknowledged**, except in a power
//!    cut: that can lose what was appended since the last successful sync. This window is at
//!    most [`Options::sync_interval`], 200 ms by default. A kill of the process loses no record
//!    for which [`append`](Spool::append) has returned.
//! 2. **The spool does not return an acknowledged record again** from the same [`Spool`] value,
//!    nor after a kill, unless the file system refused to write the acknowledgement. After a
//!    power cut it may return records that were acknowledged within the last
//!    [`ACK_SYNC_INTERVAL`]: delivery is at least once.
//! 3. **The spool never returns an altered record**, whatever the files contain.
//! 4. **Damage costs the damaged records, and no others.** [`Usage`] counts unreadable bytes,
//!    and the segment that contains them goes to the quarantine.
//! 5. **Every failed call can be repeated.** This process never returns records of an append
//!    that failed. If the process dies before the next sync, its successor may find some of
//!    them.
//! 6. **Disk and memory are bounded.** The spool appends no records beyond
//!    [`Options::max_bytes`]. Headers and seals (45 bytes for each segment), later
//!    acknowledgements, and one segment during a rewrite come on top. Memory holds three bits
//!    for each record in segments that were read, the bytes since the last sync (at most two
//!    segments), and one segment while it is read.
//! 7. **Opening reads no files**, and waits for a sync only if it has to create the root. The
//!    first [`tick`](Spool::tick) reads no records either, only the beginning and the end of
//!    each segment and its acknowledgements.
//! 8. **An appender waits only for writes.** The owner holds the lock that they share for its
//!    own appends, but never during a sync or any other call of the file system.
//! 9. **The spool notices when others remove its files.** If somebody removes, moves or
//!    replaces files of the spool, [`tick`](Spool::tick) notices within [`CHECK_INTERVAL`],
//!    returns an error once, and creates the files again. [`Spool::forgotten`] lists the
//!    records that the owner must append again; [`Usage`] counts those that are lost.
//!
//! # Files
//!
//! ```text
//! <root>/                                  0700
//!   1763942400123-4711-00c0ffee/           one process: creation (ms), process id, random
//!     lock                                 locked (flock) while the process lives
//!     0000000001-9f3a2b1c.log              a segment: number, salt
//!     0000000001-9f3a2b1c.ack              its sidecar: which records are acknowledged
//!     0000000001-9f3a2b1c.tmp              a replacement of either, not complete yet
//!   quarantine/                            or quarantine-<user id>/ if the first belongs to
//!                                          another user
//!     1763942400123-0badcafe.event         a rejected record (.event, .metric), unchanged
//!     1763942400123-0badcafe.json          the reason: {"kind", "bytes", "reason"}
//!     1763942400123-0badf00d.segment       a damaged segment, unchanged
//! ```
//!
//! All numbers in files are little-endian. All checksums are CRC-32C and start from the
//! segment's salt instead of 0. The bytes of one segment are therefore invalid in another one,
//! and somebody who chooses the payload of a record cannot forge frames. The salt is random and
//! is stored only in the file name.
//!
//! **A segment** is a header and frames. It is at most [`Options::segment_bytes`] long.
//!
//! ```text
//! header   "GRDSPOOL" | version u32 = 1 | created u64 | crc u32                 24 bytes
//! frame    salt u32 | index u32 | len u32 | tag u8 | payload crc u32 | crc u32    21 bytes
//!          payload                                                           len bytes
//! ```
//!
//! `created` is wall time in milliseconds; within a directory it never decreases. The `crc` of
//! a frame covers the 17 bytes before it. `index` numbers the records of a segment in ascending
//! order, at most 2^24 of them; a gap is a record that was removed. The tag is 0 for an event,
//! 1 for a metric, and 0x53 for the **seal**. A seal has no payload, and its index is the
//! number of indices that were assigned. A segment is sealed after a sync. The spool never
//! appends to a sealed segment, nor to a segment of an earlier process. It ignores segments of
//! another version.
//!
//! **A sidecar** is a list of groups `first u32 | words u32 | crc u32 | words * 4 bytes`. The
//! words are a bitmap of acknowledged indices, starting at `first`. A reader stops at the first
//! incomplete group.
//!
//! **A token** consists of a serial number that this process gives the segment, and the index.
//! It is meaningless to other processes.
//!
//! # Reading and unreadable bytes
//!
//! A reader goes from frame to frame. Where no valid frame starts, it searches for the next
//! position with the salt, a valid head, a valid payload, and an index higher than the last
//! one. The bytes in between are unreadable. In a segment without a seal they count as torn:
//! a kill or a power cut interrupted the last writes. In a sealed segment they count as
//! damaged. A segment goes to the quarantine instead of being removed if it is sealed and has
//! unreadable bytes, or if readable records follow unreadable bytes.
//!
//! # Writing and failed writes
//!
//! [`append`](Spool::append) writes a group of frames with one plain write. If the write fails
//! (full disk, input/output error, read-only file system), it truncates the file to its
//! previous length.
//!
//! The **write head** holds the segments that can be appended to: the active segment from the
//! start, and the next one once the active segment is half full. An [`Appender`] rotates to the
//! next segment without the owner; the next [`tick`](Spool::tick) syncs and seals the full one.
//! Until that has happened, or after any failure, an appender appends nothing, and
//! [`append`](Spool::append) does the pending work first. A segment without records is removed.
//!
//! A sync covers what was appended before it started. Appenders continue during a sync.
//!
//! If the truncation or a sync fails, the file can no longer be trusted: after a failed `fsync`
//! the system may drop unwritten data and report success for the next `fsync`. The spool
//! therefore keeps the bytes since the last successful sync in memory. Before it appends
//! anything else, it *rewrites* the segment: it writes the durable bytes and the kept bytes,
//! sealed, to a `.tmp` file, syncs that, renames it over the segment, and syncs the directory.
//! Salt and indices stay the same, so tokens and the sidecar remain valid.
//!
//! # Acknowledging
//!
//! [`acknowledge`](Spool::acknowledge) writes to the sidecar at once and syncs it within
//! [`ACK_SYNC_INTERVAL`]. A segment is removed with its last record. Its sidecar is removed
//! after the directory was synced, so that it is still there if a power cut brings the segment
//! back. A sidecar that could not be written or synced is rewritten.
//!
//! An acknowledged record takes disk space until its segment is removed or rewritten. When the
//! spool is full, it *compacts*: it rewrites segments with at least half of their records
//! acknowledged, without these records. If that does not free enough space, `append` returns
//! [`AppendError::Full`], and [`discard_oldest`](Spool::discard_oldest) removes the oldest
//! records.
//!
//! # Dead processes
//!
//! A directory belongs to the process that holds its lock; the system releases the lock when
//! the process ends. With its first tick, and then every [`ADOPTION_INTERVAL`], a process adopts
//! the directories whose lock is free, the newest first, up to [`MAX_ADOPTED`] of them. It takes
//! the lock and then checks that the lock file is still at its path, because the last holder may
//! have removed it. So no two processes ever read the same directory. [`load`](Spool::load)
//! returns the adopted records. Each [`tick`](Spool::tick) rewrites one adopted segment that has
//! no seal, which makes it durable even if the dead process had not synced it. The directory is
//! removed when it is empty.
//!
//! Several users can share a root. If a process may not enter a directory of another user, it
//! leaves that directory to the processes of that user.
//!
//! The child of a fork inherits its parent's locks and releases them with [`Lease::abandon`].
//!
//! # Changes by others
//!
//! A process can still write and sync a file that somebody removed; the data is gone when the
//! process ends. While the spool has records, [`tick`](Spool::tick) therefore checks every
//! [`CHECK_INTERVAL`] that each path still leads to the same file. It compares device and inode
//! ([`FileId`]) of the lock and of each segment, and checks that no segment has become shorter.
//! [`Spool::sync`] and [`Spool::close`] do the same check.
//!
//! | found at the path | action |
//! |---|---|
//! | the lock is missing, in the same directory | The spool takes the lock again. |
//! | the lock is missing, and another process holds the new lock | That process has adopted the directory. Records in the owner's memory are missing; all others count as [taken](Usage::taken). |
//! | no directory, or another one (removed, moved, hidden by a mount) | The spool creates a directory with another name. If the old one comes back, it is adopted like that of a dead process. Records in the owner's memory are missing; all others count as [damaged](Usage::damaged). |
//! | a segment is missing, shorter, or another file | The spool reads the current file. Records that are not in it are missing or count as damaged, as above. |
//!
//! [`Spool::forgotten`] returns each missing record once, and the owner appends it again. The
//! call that noticed the change returns an error with the path.
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
mod token;
mod usage;
mod write_head;

pub use directory::{Lease, MAX_ADOPTED};
pub use error::{AppendError, IoError, OpenError, OptionsError};
pub use guard_wire::Kind;
pub use options::{
    DEFAULT_MAX_BYTES, DEFAULT_MAX_RECORD, DEFAULT_QUARANTINE_BYTES, DEFAULT_SEGMENT_BYTES,
    DEFAULT_SYNC_INTERVAL, MAX_SEGMENT_BYTES, Options,
};
pub use platform::clock::{Clock, SystemClock};
pub use platform::fs::{Disk, Entry, File, FileId, FileSystem, Lock};
pub use quarantine::{MAX_REASON, QUARANTINE_BLOCK};
pub use spool::compact::Discarded;
pub use spool::watch::CHECK_INTERVAL;
pub use spool::{ACK_SYNC_INTERVAL, ADOPTION_INTERVAL, Loaded, RETRY, Spool};
pub use token::Token;
pub use usage::{Counts, Usage};
pub use write_head::Appender;
