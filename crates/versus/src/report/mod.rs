//! What was found, as a page and as a picture.

mod chart;
mod numbers;
mod page;

pub use chart::draw;
pub use page::page;
