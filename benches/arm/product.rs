//! One product of weights and activations, again and again, so that its instructions can be counted:
//! `product SET FORMAT ROWS COLS TOKENS ROUNDS`.

use attamba::internals::{Cpu, product};
use attamba::quant::DType;

fn main() -> attamba::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [set, format, numbers @ ..] = args.as_slice() else {
        println!("instruction sets: {}", Cpu::instruction_sets().join(", "));
        return Ok(());
    };
    let numbers: Vec<usize> =
        numbers.iter().map(|n| n.parse().expect("rows, cols, tokens, rounds")).collect();
    let [rows, cols, tokens, rounds] = numbers[..] else {
        panic!("rows, cols, tokens, rounds");
    };
    let format = DType::ALL.into_iter().find(|d| d.name() == format).expect("a format");
    println!("{}", product(set, format, [rows, cols], tokens, rounds)?);
    Ok(())
}
