//! `JsSlots`: the slots of the engine's storage over the browser's files; each call goes to the JavaScript pool of
//! open handles (`wasm/js/slots.js`). Used by `store`.
//!
//! A module without threads lives in one realm, and so do its handles: they are kept by number in a table of
//! that realm, because storage must be `Send` and handles are not.

use std::cell::RefCell;
use std::io;

use nearfield_segment::storage::{SlotId, Slots};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `SlotPool` of `wasm/js/slots.js`. Its methods throw what the handles throw.
    #[derive(Debug, Clone)]
    pub type SlotPool;

    #[wasm_bindgen(method)]
    fn count(this: &SlotPool) -> u32;

    #[wasm_bindgen(method, catch)]
    fn length(this: &SlotPool, slot: u32) -> Result<f64, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn read(this: &SlotPool, slot: u32, offset: f64, out: &mut [u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn write(this: &SlotPool, slot: u32, offset: f64, bytes: &[u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn truncate(this: &SlotPool, slot: u32, length: f64) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch)]
    fn flush(this: &SlotPool, slot: u32) -> Result<(), JsValue>;
}

thread_local! {
    /// Pools in use, each for as long as its `JsSlots`; a number that is free again is given to another.
    static POOLS: RefCell<Vec<Option<SlotPool>>> = const { RefCell::new(Vec::new()) };
}

/// A pool of open handles.
#[derive(Debug)]
pub(crate) struct JsSlots {
    number: usize,
}

impl Drop for JsSlots {
    fn drop(&mut self) {
        POOLS.with_borrow_mut(|pools| pools[self.number] = None);
    }
}

impl JsSlots {
    /// Takes a pool over.
    pub(crate) fn new(pool: SlotPool) -> JsSlots {
        POOLS.with_borrow_mut(|pools| {
            let free = pools.iter().position(Option::is_none);
            let number = free.unwrap_or(pools.len());
            if free.is_none() {
                pools.push(None);
            }
            pools[number] = Some(pool);
            JsSlots { number }
        })
    }

    fn with<T>(&self, ask: impl FnOnce(&SlotPool) -> T) -> T {
        let here = "a pool is here until its slots are dropped";
        POOLS.with_borrow(|pools| ask(pools[self.number].as_ref().expect(here)))
    }

    fn call<T>(&self, call: impl FnOnce(&SlotPool) -> Result<T, JsValue>) -> io::Result<T> {
        self.with(call).map_err(|thrown| failure(&thrown))
    }
}

impl Slots for JsSlots {
    fn count(&self) -> u32 {
        self.with(SlotPool::count)
    }

    fn len(&self, slot: SlotId) -> io::Result<u64> {
        self.call(|pool| pool.length(slot.0)).map(|length| length as u64)
    }

    fn read(&self, slot: SlotId, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.call(|pool| pool.read(slot.0, offset as f64, out))
    }

    fn write(&self, slot: SlotId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call(|pool| pool.write(slot.0, offset as f64, bytes))
    }

    fn truncate(&self, slot: SlotId, len_bytes: u64) -> io::Result<()> {
        self.call(|pool| pool.truncate(slot.0, len_bytes as f64))
    }

    fn flush(&self, slot: SlotId) -> io::Result<()> {
        self.call(|pool| pool.flush(slot.0))
    }
}

/// What a handle threw, as the system's error that it stands for.
fn failure(thrown: &JsValue) -> io::Error {
    let text = |name| {
        let value = js_sys::Reflect::get(thrown, &JsValue::from_str(name)).ok()?;
        value.as_string()
    };
    let name = text("name").unwrap_or_default();
    let message = format!("{name}: {}", text("message").unwrap_or_default());
    let kind = match name.as_str() {
        "QuotaExceededError" => io::ErrorKind::QuotaExceeded,
        "ShortReadError" => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, message)
}
