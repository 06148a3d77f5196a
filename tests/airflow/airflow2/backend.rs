//! What the backend lets in and what it makes of it, case by case: backend.py beside this file, in
//! Airflow's own Python and with its database.

use std::fs;

use super::{BASIC, OURS, SESSION, airflow_2};
use crate::programs::beside_the_tests;

#[test]
fn the_backend_keeps_what_it_promises_inside_airflow() {
    let recipe = airflow_2("backend", "2.10.5", &[OURS, BASIC, SESSION]);
    let home = recipe.home();
    let run = recipe
        .command("python", &home)
        .args(["-W", "ignore"])
        .arg(beside_the_tests("airflow2/backend.py"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}\n{said}", String::from_utf8_lossy(&run.stdout));
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next());
    let count: u32 = ran.expect("a line with the number of tests").parse().unwrap();
    assert!(count > 20, "only {count} ran");
    fs::remove_dir_all(home).unwrap();
}
