// Numbers of 4 bits: a word has eight, the first four in the lower nibbles of its bytes.
#import quads

fn nibbles(words: vec4<u32>, half: u32) -> vec4<u32> {
    return (words >> vec4(4u * half)) & vec4(0x0f0f0f0fu);
}
