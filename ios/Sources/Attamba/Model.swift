import CAttamba
import Foundation

/// An open model file. Sessions stay usable when it is deallocated.
///
/// All functions may be called on any thread; those that take time are `async`, and run on threads of
/// their own.
public final class Model: Sendable {
    /// The library's handle for the model.
    private let number: UInt

    var handle: OpaquePointer? { OpaquePointer(bitPattern: number) }

    private init(number: UInt) {
        self.number = number
    }

    deinit {
        _ = attamba_model_close(handle)
    }

    /// The version of the library.
    public static var version: String { String(cString: attamba_version()) }

    /// Opens the model file at `path`, which is mapped and must be neither written to nor shortened
    /// meanwhile, unless the options say `inMemory`. `progress` receives the progress of loading, 0 to 1, on
    /// the thread that loads, and cancels it by returning `false`; `options.loading` receives it in bytes.
    /// Loading is cancelled with its task.
    public static func open(
        path: String,
        options: ModelOptions = ModelOptions(),
        progress: (@Sendable (Float) -> Bool)? = nil
    ) async throws -> Model {
        try await open(options, progress) { attamba_model_open(path, $0, $1) }
    }

    /// Opens `length` bytes (0: to the end) starting at byte `offset` of an open file. The caller
    /// keeps ownership of the descriptor and may close it afterwards.
    public static func open(
        descriptor: Int32,
        offset: UInt64 = 0,
        length: UInt64 = 0,
        options: ModelOptions = ModelOptions(),
        progress: (@Sendable (Float) -> Bool)? = nil
    ) async throws -> Model {
        try await open(options, progress) {
            attamba_model_open_fd(descriptor, offset, length, $0, $1)
        }
    }

    private static func open(
        _ options: ModelOptions,
        _ progress: (@Sendable (Float) -> Bool)?,
        _ call: @escaping @Sendable (
            UnsafePointer<attamba_model_options>, UnsafeMutablePointer<OpaquePointer?>
        ) -> attamba_status
    ) async throws -> Model {
        let listener = Listener(progress, options.loading)
        return try await withTaskCancellationHandler {
            do {
                return try await blocking {
                    var handle: OpaquePointer?
                    try options.withC { loading in
                        loading.progress = { user, done in
                            let listener = Unmanaged<Listener>.fromOpaque(user!).takeUnretainedValue()
                            return listener.goesOn(done) ? 1 : 0
                        }
                        loading.loading = { user, soFar in
                            let listener = Unmanaged<Listener>.fromOpaque(user!).takeUnretainedValue()
                            return listener.goesOn(soFar!.pointee) ? 1 : 0
                        }
                        // The outer function keeps it alive until the call returns.
                        loading.progress_user = Unmanaged.passUnretained(listener).toOpaque()
                        try check(call(&loading, &handle))
                    }
                    return Model(number: UInt(bitPattern: handle))
                }
            } catch let error as AttambaError where error.status == .cancelled {
                // With its task it ends the way tasks do.
                try Task.checkCancellation()
                throw error
            }
        } onCancel: {
            listener.cancel()
        }
    }

    private final class Listener: @unchecked Sendable {
        private let progress: (@Sendable (Float) -> Bool)?
        private let loading: (@Sendable (Loading) -> Bool)?
        private let lock = NSLock()
        private var cancelled = false

        init(
            _ progress: (@Sendable (Float) -> Bool)?, _ loading: (@Sendable (Loading) -> Bool)?
        ) {
            self.progress = progress
            self.loading = loading
        }

        func cancel() {
            lock.lock()
            cancelled = true
            lock.unlock()
        }

        private var isCancelled: Bool {
            lock.lock()
            defer { lock.unlock() }
            return cancelled
        }

        func goesOn(_ done: Float) -> Bool {
            !isCancelled && progress?(done) ?? true
        }

        func goesOn(_ soFar: attamba_loading) -> Bool {
            guard !isCancelled else { return false }
            guard let loading, let part = Loading.Part(rawValue: soFar.part) else { return true }
            return loading(Loading(part: part, done: soFar.done, all: soFar.all))
        }
    }

    /// The memory that the model at `path` and a session would need, without loading it: on the GPU
    /// if `options` or `loading` ask for it, else on the CPU.
    public static func estimate(
        path: String,
        options: SessionOptions = SessionOptions(),
        loading: ModelOptions = ModelOptions()
    ) throws -> Memory {
        try loading.withC { loading in
            try options.withC { options in
                try Memory { try check(attamba_estimate(path, &loading, options, $0)) }
            }
        }
    }

    /// As above, for a model inside an open file.
    public static func estimate(
        descriptor: Int32,
        offset: UInt64 = 0,
        length: UInt64 = 0,
        options: SessionOptions = SessionOptions(),
        loading: ModelOptions = ModelOptions()
    ) throws -> Memory {
        try loading.withC { loading in
            try options.withC { options in
                try Memory {
                    try check(
                        attamba_estimate_fd(descriptor, offset, length, &loading, options, $0))
                }
            }
        }
    }

    /// Passes the library's log messages up to a level, from 0 for none to 5 for everything, on to `receive`,
    /// with their levels, on any thread. It must not call the library.
    public static func log(
        level: Int32,
        _ receive: @escaping @Sendable (_ level: Int32, _ text: String) -> Void
    ) throws {
        receiver.set(receive)
        try check(
            attamba_log_set(
                level, { _, level, text, count in receiver.pass(level, string(text, count)) }, nil))
    }

    /// The devices that can compute: GPUs, the fastest kinds first, and the CPU last.
    public static func adapters() throws -> [Adapter] {
        var adapters: [Adapter] = []
        try withUnsafeMutablePointer(to: &adapters) { list in
            try check(
                attamba_adapters(
                    { user, adapter in
                        let adapter = adapter!.pointee
                        user!.assumingMemoryBound(to: [Adapter].self).pointee.append(
                            Adapter(
                                engine: Engine(rawValue: adapter.engine) ?? .auto,
                                name: String(cString: adapter.name), memory: adapter.memory))
                        return 1
                    }, list))
        }
        return adapters
    }

    /// The model's name as stored in its file.
    public var name: String {
        text { _ = attamba_model_name(handle, $0, $1, $2) }
    }

    /// A description of the engine.
    public var engine: String {
        text { _ = attamba_model_engine(handle, $0, $1, $2) }
    }

    /// What a model's file says of it.
    public struct Info: Equatable, Sendable {
        /// The context length, in tokens, that the model was trained with.
        public let context: UInt32
        /// The size of the file in bytes.
        public let fileBytes: UInt64
        /// Whether the file has a chat template that can be used.
        public let hasTemplate: Bool
        /// Whether that template mentions tools.
        public let hasTools: Bool
        /// Whether the model was made for `embed`.
        public let embeds: Bool
    }

    /// What the file says of the model.
    public var info: Info {
        let info = cInfo
        return Info(
            context: info.context, fileBytes: info.file_bytes, hasTemplate: info.has_template != 0,
            hasTools: info.has_tools != 0, embeds: info.embeds != 0)
    }

    private var cInfo: attamba_model_info {
        var info = attamba_model_info()
        info.struct_size = UInt32(MemoryLayout<attamba_model_info>.size)
        _ = attamba_model_get_info(handle, &info)
        return info
    }

    /// The value of a key of the file's metadata, as text: `general.architecture` for the family, any
    /// other key of the file, or `quantization`.
    public func metadata(_ key: String) throws -> String {
        try text { try check(attamba_model_metadata(handle, key, $0, $1, $2)) }
    }

    /// A text as a vector of length 1, to compare texts by; the log has a warning for a model that was
    /// not made for it. It takes time in proportion to the text.
    public func embed(_ text: String, pooling: Pooling = .automatic) async throws -> [Float] {
        try await blocking { [self] in
            var vector = [Float](repeating: 0, count: Int(cInfo.width))
            try withUTF8(text) {
                try check(
                    attamba_model_embed(
                        handle, $0, $1, pooling.rawValue, &vector, vector.count, nil))
            }
            return vector
        }
    }

    /// The text of tokens; with `special`, special tokens give their names.
    public func detokenize(_ tokens: [UInt32], special: Bool = false) throws -> String {
        try text {
            try check(
                attamba_model_detokenize(
                    handle, tokens, tokens.count, special ? 1 : 0, $0, $1, $2))
        }
    }

    /// Tokenizes a text; with `special`, names such as `<|im_start|>` become their tokens.
    public func tokenize(_ text: String, special: Bool = false) throws -> [UInt32] {
        try withUTF8(text) { bytes, count in
            var length = 0
            try check(
                attamba_model_tokenize(handle, bytes, count, special ? 1 : 0, nil, 0, &length))
            var tokens = [UInt32](repeating: 0, count: length)
            try check(
                attamba_model_tokenize(
                    handle, bytes, count, special ? 1 : 0, &tokens, tokens.count, nil))
            return tokens
        }
    }

    /// Opens a session and allocates all of its memory.
    public func session(_ options: SessionOptions = SessionOptions()) async throws -> Session {
        try await blocking { [self] in
            var session: OpaquePointer?
            try options.withC { try check(attamba_session_open(handle, $0, &session)) }
            return Session(number: UInt(bitPattern: session))
        }
    }

    /// Resumes the session that was saved at `path`, with the budget it had.
    public func load(
        path: String,
        options: SessionOptions = SessionOptions()
    ) async throws -> Session {
        try await blocking { [self] in
            var session: OpaquePointer?
            try options.withC { try check(attamba_session_load(handle, path, $0, &session)) }
            return Session(number: UInt(bitPattern: session))
        }
    }
}

/// Who receives log messages, of the whole process as in the library.
private let receiver = Receiver()

private final class Receiver: @unchecked Sendable {
    private let lock = NSLock()
    private var receive: (@Sendable (Int32, String) -> Void)?

    func set(_ receive: @escaping @Sendable (Int32, String) -> Void) {
        lock.lock()
        self.receive = receive
        lock.unlock()
    }

    func pass(_ level: Int32, _ text: String) {
        lock.lock()
        let receive = self.receive
        lock.unlock()
        receive?(level, text)
    }
}
