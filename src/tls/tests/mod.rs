mod choosing;
mod fixture;
mod reading;
mod sessions;
