use super::*;

#[test]
fn show() {
    let text =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/twenty-mistakes.yaml"));
    println!("{}", Table::parse(text).unwrap_err());
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/example.yaml"));
    println!("{:?}", Table::parse(text).unwrap().warnings);
}
