//! The allocator of all roles.
#![allow(unsafe_code, reason = "the allocator's own functions have no safe wrapper")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// Gives what this thread has freed back to the system at once. A thread that goes to sleep for good would keep it.
pub fn give_back() {
    // SAFETY: the function has no preconditions; it looks through the calling thread's own heap.
    unsafe { mi_collect(true) };
}
