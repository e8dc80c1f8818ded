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
        for (engine, name) in found() {
            let name = CString::new(name)
                .map_err(|_| Failure::new(Status::Device, "an adapter has no printable name"))?;
            let adapter = Adapter {
                struct_size: size_of::<Adapter>() as u32,
                engine: engine as i32,
                name: name.as_ptr(),
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

fn found() -> Vec<(Engine, String)> {
    let mut found = gpus();
    found.push((Engine::Cpu, runtime::Engine::describe_cpu(&EngineOptions::default())));
    found
}

#[cfg(feature = "gpu")]
fn gpus() -> Vec<(Engine, String)> {
    let all = runtime::Adapter::all();
    all.iter().map(|adapter| (Engine::Gpu, adapter.describe())).collect()
}

#[cfg(not(feature = "gpu"))]
fn gpus() -> Vec<(Engine, String)> {
    Vec::new()
}
