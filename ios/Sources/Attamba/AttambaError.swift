import CAttamba

/// Thrown when a library call fails.
public struct AttambaError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The statuses of `attamba.h`.
    public enum Status: Int32, Sendable {
        case argument = 1
        case closed, busy, state, io, file, unsupported, text, budget, saved, memory, cancelled
        case paused, device, `internal`
    }

    /// The kind of failure.
    public let status: Status
    /// The error message.
    public let description: String

    /// The last failure on this thread.
    init(status: Int32) {
        self.status = Status(rawValue: status) ?? .internal
        description = text { buffer, capacity, length in
            _ = attamba_error_message(nil, buffer, capacity, length)
        }
    }
}

/// Throws the failure that the status describes, if any.
func check(_ status: attamba_status) throws {
    let number = Int32(status.rawValue)
    if number != 0 {
        throw AttambaError(status: number)
    }
}

/// Reads text from a function that fills a buffer and returns the size it needs.
func text(
    _ fill: (UnsafeMutablePointer<CChar>?, Int, UnsafeMutablePointer<Int>?) throws -> Void
) rethrows -> String {
    var length = 0
    try fill(nil, 0, &length)
    var buffer = [CChar](repeating: 0, count: length + 1)
    try fill(&buffer, buffer.count, nil)
    return string(buffer, length)
}

/// Text from the library, which is UTF-8.
func string(_ bytes: UnsafePointer<CChar>?, _ count: Int) -> String {
    UnsafeBufferPointer(start: bytes, count: count).withMemoryRebound(to: UInt8.self) {
        String(decoding: $0, as: UTF8.self)
    }
}

/// Passes the UTF-8 of a text to a function.
func withUTF8<T>(_ text: String, _ body: (UnsafePointer<CChar>?, Int) throws -> T) rethrows -> T {
    var text = text
    return try text.withUTF8 { bytes in
        try bytes.withMemoryRebound(to: CChar.self) { try body($0.baseAddress, $0.count) }
    }
}
