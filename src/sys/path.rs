//! What stands at a path: whether it can be opened and locked, and why it may not be.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::{env, fs};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Uid, faccessat};

use super::error::POLICY;
use super::{Error, quoted};

/// Makes sure that there is a regular file or a folder at the path, which can be opened without an
/// effect on anybody: to open a FIFO lets its writer go on, and a device may do anything. Fails
/// with [`Error::UnusableFile`]. (If there is nothing, open(2) and ftok(3) say so.)
pub fn ensure_harmless(path: &Path) -> Result<(), Error> {
    let Ok(file) = fs::metadata(path) else { return Ok(()) };
    let kind = match file.file_type() {
        it if it.is_file() || it.is_dir() => return Ok(()),
        it if it.is_fifo() => "a FIFO",
        it if it.is_socket() => "a socket",
        it if it.is_char_device() => "a character device",
        it if it.is_block_device() => "a block device",
        _ => "not a file",
    };
    let what = format!("{} is {kind}, and a regular file or a folder is needed", quoted(path));
    Err(Error::UnusableFile(what))
}

/// Why there is no file, and what to do.
pub(super) fn why_missing(path: &Path) -> String {
    match path.parent() {
        None => "the path is empty".to_owned(),
        Some(folder) if !folder.as_os_str().is_empty() && fs::metadata(folder).is_err() => {
            format!("there is no folder {}", quoted(folder))
        }
        Some(_) if path.as_os_str().as_bytes().ends_with(b"/") => "it is no folder".to_owned(),
        Some(_) if fs::symlink_metadata(path).is_ok() => "it is a link to no file".to_owned(),
        Some(_) => "ftok needs a file that exists: create it (touch)".to_owned(),
    }
}

/// Why this user may not look up the file, or may not open it for reading, as far as the system
/// tells. The modes are blamed only if they forbid it.
pub(super) fn why_denied(path: &Path, is_opened: bool) -> Option<String> {
    let us = Uid::effective().as_raw(); // fakeroot(1) fakes the owners of files too
    let is_denied = |it: &Path, how| faccessat(AT_FDCWD, it, how, AtFlags::AT_EACCESS).is_err();
    let acl_or_policy = || format!("an access control list (getfacl) or {POLICY}");
    let mode_lacks = |it: &Path, bits: u32| {
        // For its owner the first three bits count, and for all others the rest.
        let counts = |owner| if owner == us { 0o700 } else { 0o077 };
        fs::metadata(it).is_ok_and(|file| !file.mode() & bits & counts(file.uid()) != 0)
    };
    if fs::metadata(path).is_ok() {
        return Some(match is_opened && is_denied(path, AccessFlags::R_OK) {
            true if mode_lacks(path, 0o444) => "make it readable (chmod +r)".to_owned(),
            true => acl_or_policy(),
            false => POLICY.to_owned(),
        });
    }
    // There is one at most: what is in a closed folder has no mode that could be asked for.
    let is_closed = |it: &&Path| is_denied(it, AccessFlags::X_OK) && fs::metadata(it).is_ok();
    // The whole path: of a closed folder that one is in, `.` cannot be looked up either.
    let whole = env::current_dir().unwrap_or_default().join(path);
    if let Some(closed) = whole.ancestors().skip(1).find(is_closed) {
        return Some(match mode_lacks(closed, 0o111) {
            true => format!("make the folder {} searchable (chmod +x)", quoted(closed)),
            false => acl_or_policy(),
        });
    }
    // The folders of a link's target have not been looked at.
    let is_link = |it: &Path| fs::symlink_metadata(it).is_ok_and(|file| file.is_symlink());
    (!path.ancestors().any(is_link)).then(|| POLICY.to_owned())
}
