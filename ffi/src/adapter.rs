//! The devices that the machine can compute on.

use crate::error::Failure;
use crate::guard;
use crate::input;
use crate::options::Engine;
use crate::status::Status;
use runtime::EngineOptions;
use std::ffi::{CString, c_char, c_void};

/// A device that an engine runs on.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Adapter {
    /// sizeof(attamba_adapter) of the library. A function that was compiled with another header
    /// reads no more than this.
    pub struct_size: u32,
    /// The attamba_engine that runs on it.
    pub engine: i32,
    /// Its name, zero-terminated, valid until the function returns.
    pub name: *const c_char,
    /// Bytes of memory that it computes in: its own, or of the host's, where it shares that, as much
    /// as it may use. 0 if its driver, or for the CPU the system, does not tell.
    pub memory: u64,
}

/// A device, and what is passed on of it.
struct Found {
    engine: Engine,
    name: String,
    memory: Option<u64>,
}

/// Receives one adapter, valid until the function returns. Returns 0 to stop.
pub type AdapterFn =
    Option<unsafe extern "C" fn(user: *mut c_void, adapter: *const Adapter) -> i32>;

/// Passes the devices that the machine can compute on to `each`: GPUs, the fastest kinds first, and
/// the CPU last. Software GPU drivers are included.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attamba_adapters(each: AdapterFn, user: *mut c_void) -> Status {
    guard::call(|| {
        let each = each.ok_or_else(|| Failure::argument("the adapter function is NULL"))?;
        for Found { engine, name, memory } in found() {
            let name = CString::new(name)
                .map_err(|_| Failure::new(Status::Device, "an adapter has no printable name"))?;
            let adapter = Adapter {
                struct_size: size_of::<Adapter>() as u32,
                engine: engine as i32,
                name: name.as_ptr(),
                memory: memory.unwrap_or(0),
            };
            // SAFETY: the caller's function, while the caller waits; the adapter is alive.
            let go_on = unsafe { each(user, &raw const adapter) };
            if !input::boolean(go_on) {
                break;
            }
        }
        Ok(())
    })
}

fn found() -> Vec<Found> {
    let mut found = gpus();
    let name = runtime::Engine::describe_cpu(&EngineOptions::default());
    found.push(Found { engine: Engine::Cpu, name, memory: host_memory() });
    found
}

/// What the kernel says on Linux and Android.
fn host_memory() -> Option<u64> {
    let said = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = said.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<Found> {
    let found = |adapter: &runtime::Adapter| Found {
        engine: Engine::Gpu,
        name: adapter.describe(),
        memory: adapter.memory(),
    };
    runtime::Adapter::all().iter().map(found).collect()
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<Found> {
    Vec::new()
}
