//! How many connections there may be: from one address, of one listener, and of the whole process, bounded by its limit
//! of open files.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// File descriptors kept back from connections: for stores, logs, and channels to other services and to source and
/// target.
const RESERVE: u64 = 256;
/// Connections that are allowed however low the limit of open files is.
const AT_LEAST: usize = 16;

/// Open connections of all listeners of this process, which share its limit of open files.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    most_of_process: usize,
    most_of_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// The slot of an open connection.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub fn new(most: usize, most_of_address: usize) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files =
            files.map_or(usize::MAX, |files| usize::try_from(files.saturating_sub(RESERVE)).unwrap_or(usize::MAX));
        Self::with_files(most, most_of_address, files.max(AT_LEAST))
    }

    fn with_files(most: usize, most_of_address: usize, most_of_process: usize) -> Self {
        Self { most, most_of_process, most_of_address, open: Mutex::default() }
    }

    /// A slot for a connection from this address; `None` if the limits are reached.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.of.get(&address).copied().unwrap_or(0);
        if open.all >= self.most || own >= self.most_of_address {
            return None;
        }
        let more = |count: usize| (count < self.most_of_process).then_some(count + 1);
        OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        open.all += 1;
        open.of.insert(address, own + 1);
        Some(Slot { slots: Arc::clone(self), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        OPEN.fetch_sub(1, Ordering::Relaxed);
        open.all -= 1;
        if let Some(count) = open.of.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_no_listener_and_no_process_has_too_many() {
        let [a, b]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let slots = Arc::new(Slots::with_files(3, 2, 1000));
        let first = slots.take(a).unwrap();
        let (_second, _other) = (slots.take(a).unwrap(), slots.take(b).unwrap());
        assert!(slots.take(a).is_none() && slots.take(b).is_none());
        drop(first);
        assert!(slots.take(b).is_some());
        let narrow = Arc::new(Slots::with_files(1000, 1000, OPEN.load(Ordering::Relaxed) + 1));
        let _held = narrow.take(a).unwrap();
        assert!(narrow.take(a).is_none(), "more than files allow");
    }
}
