//! placeholder
mod ids;
