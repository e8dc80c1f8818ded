import CAttamba
import Foundation

/// The engine that computes.
public enum Engine: Int32, Sendable {
    /// For a model, the best engine of the device; for a session, its model's engine.
    case auto
    case cpu
    case gpu
}

/// How activations are rounded.
public enum Activations: Int32, Sendable {
    /// 14 bits: the logits are those of the weights in the file.
    case int14
    /// 8 bits: faster, above all in prefill, with logits that are less exact. On a GPU with matrix units: half
    /// precision in prefill.
    case int8
}

/// A device that an engine runs on.
public struct Adapter: Equatable, Sendable {
    public let engine: Engine
    public let name: String
    /// Bytes of memory that it computes in: its own, or of the host's, where it shares that, as much as
    /// it may use; 0 if it is not known.
    public let memory: UInt64
}

/// How much context a session can hold. This fixes its memory when it is opened.
public enum Budget: Sendable {
    /// The context length that the model was trained with.
    case context
    /// Chunk states per layer.
    case states(UInt64)
    /// Tokens.
    case tokens(UInt64)
    /// Bytes of the session's state.
    case bytes(UInt64)

    var kindAndAmount: (Int32, UInt64) {
        switch self {
        case .context: return (0, 0)
        case .states(let count): return (1, count)
        case .tokens(let count): return (2, count)
        case .bytes(let count): return (3, count)
        }
    }
}

/// How keys and values are stored.
public enum KeysAndValues: Int32, Sendable {
    /// `f16`, or fewer bits where only these fit a budget in bytes and some heads are to see far.
    case automatic
    case f32
    /// Chunk states as 8-bit integers.
    case i8
    case f16
    /// Chunk states as 4-bit integers, for heads of 32, 64, 128 or 256 values.
    case i4
}

/// How the hidden states of a text become one vector.
public enum Pooling: Int32, Sendable {
    /// As the model's file says; their mean if it says nothing.
    case automatic
    case mean
    /// That of the last token.
    case last
}

/// What is evicted when a session's memory is full.
public enum Policy: Int32, Sendable {
    /// The oldest chunk state.
    case drop
    /// Every second chunk state of the older half.
    case thin
    /// What the model's retention gates score lowest, head by head: for transformers whose file has such gates.
    case retain
}

/// How far a part of loading is.
public struct Loading: Equatable, Sendable {
    public enum Part: Int32, Sendable {
        /// Reading the file, if the options say `inMemory` or `preload`.
        case read
        /// Uploading weights to a GPU.
        case upload
    }

    public let part: Part
    /// Bytes that are done.
    public let done: UInt64
    /// Bytes in all.
    public let all: UInt64
}

/// How a model is opened.
public struct ModelOptions: Sendable {
    public var engine = Engine.auto
    /// Threads of the CPU engine; 0 uses the fast cores, at most 4.
    public var threads: UInt32 = 0
    /// Reads the whole file now, so that the first answer does not wait for storage.
    public var preload = false
    /// Part of the name of the GPU to use; by default the fastest.
    public var adapter: String?
    /// Reads the file into memory instead of mapping it, so that it may change while the model is
    /// open. The system cannot reclaim that memory.
    public var inMemory = false
    /// Whether sessions of the CPU engine that generate on several threads at the same time decode
    /// together, which reads the weights once for all of them.
    public var batching = false
    /// How activations are rounded before they are multiplied with quantized weights.
    public var activations = Activations.int14
    /// Receives the progress of each part of loading every few megabytes, on the thread that loads, and
    /// cancels it by returning `false`.
    public var loading: (@Sendable (Loading) -> Bool)?

    public init() {}

    /// Passes the options, without functions for the progress, to a function in their C form.
    func withC<T>(_ body: (inout attamba_model_options) throws -> T) rethrows -> T {
        var options = attamba_model_options()
        options.struct_size = UInt32(MemoryLayout<attamba_model_options>.size)
        options.engine = engine.rawValue
        options.threads = threads
        options.preload = preload ? 1 : 0
        options.in_memory = inMemory ? 1 : 0
        options.batching = batching ? 1 : 0
        options.activations = activations.rawValue
        guard let adapter else {
            return try body(&options)
        }
        return try adapter.withCString { name in
            options.adapter = name
            return try body(&options)
        }
    }
}

/// How a session is opened.
public struct SessionOptions: Sendable {
    public var budget = Budget.context
    public var engine = Engine.auto
    public var keysAndValues = KeysAndValues.automatic
    public var policy = Policy.drop
    /// Tokens per chunk; 0 for the length that the model was trained with.
    public var chunk: UInt32 = 0
    /// How tokens are chosen; nil for the defaults: `Sampling.chat` in a chat, else `Sampling()`.
    public var sampling: Sampling?
    /// Whether messages of a chat that spell special tokens, such as `<|im_end|>`, become these tokens;
    /// only for messages that the application writes itself.
    public var parseSpecial = false
    /// How keys and values of heads that see far are stored; by default like the others.
    public var farKeysAndValues = KeysAndValues.automatic
    /// How many KV heads see far, the first ones of the model's profile; nil for as many as are worth
    /// their bytes and a budget in bytes allows; without one, those of a model with mixers.
    public var farHeads: Int32?
    /// Tokens that the other heads see at least; 0 for what the profile says.
    public var nearTokens: UInt32 = 0
    /// Tokens that heads see if they see far; 0 for the context that the model was trained with.
    public var horizon: UInt64 = 0
    /// The most bytes of the snapshots that a chat keeps in order to go back; 0 for 32 MiB. With fewer
    /// than one takes it keeps none, and `undo` processes the chat again.
    public var checkpointBytes: UInt64 = 0

    public init(budget: Budget = .context) {
        self.budget = budget
    }

    /// Passes the options to a function in their C form.
    func withC<T>(_ body: (UnsafePointer<attamba_session_options>) throws -> T) throws -> T {
        func pass(_ sampling: UnsafePointer<attamba_sampling>?) throws -> T {
            var options = attamba_session_options()
            options.struct_size = UInt32(MemoryLayout<attamba_session_options>.size)
            options.engine = engine.rawValue
            (options.budget_kind, options.budget) = budget.kindAndAmount
            options.kv = keysAndValues.rawValue
            options.policy = policy.rawValue
            options.chunk = chunk
            options.sampling = sampling
            options.parse_special = parseSpecial ? 1 : 0
            options.far_kv = farKeysAndValues.rawValue
            // The C options have 0 for the default, and negative numbers for none.
            options.far_heads = farHeads.map { $0 == 0 ? -1 : $0 } ?? 0
            options.near_tokens = nearTokens
            options.horizon = horizon
            options.checkpoint_bytes = checkpointBytes
            return try body(&options)
        }
        guard let sampling else {
            return try pass(nil)
        }
        return try sampling.withC { try pass($0) }
    }
}

/// A stage of the chain that tokens are chosen by; they run in this order by default.
public enum Stage: Int32, CaseIterable, Sendable {
    case penalties
    case dry
    case topK
    case typicalP
    case topP
    case minP
    case xtc
    case temperature
}

/// How tokens are chosen.
public struct Sampling: Sendable {
    /// 0 always picks the most likely token.
    public var temperature: Float = 0.8
    /// Keeps only this many of the most likely tokens; 0 for all.
    public var topK: UInt32 = 40
    /// Keeps only the most likely tokens that together have this probability.
    public var topP: Float = 0.95
    /// Keeps only tokens whose probability is at least this fraction of the most likely token's.
    public var minP: Float = 0.05
    /// Divides the logits of recent tokens; 1 is off.
    public var repeatPenalty: Float = 1
    /// How many tokens are recent to the three penalties.
    public var repeatLast: UInt32 = 64
    /// Subtracted from the logit of a recent token for each of its occurrences; 0 is off.
    public var frequencyPenalty: Float = 0
    /// Subtracted from the logit of a recent token; 0 is off.
    public var presencePenalty: Float = 0
    /// Keeps only the most typical tokens that together have this probability; 1 for all.
    public var typicalP: Float = 1
    /// Probability that XTC acts on a token; 0 is off.
    public var xtcProbability: Float = 0
    /// Of the tokens of at least this probability XTC keeps only the least likely.
    public var xtcThreshold: Float = 0.1
    /// DRY: how much less likely tokens become that continue a repetition; 0 is off.
    public var dryMultiplier: Float = 0
    /// The factor by which that grows with each repeated token.
    public var dryBase: Float = 1.75
    /// Shorter repetitions, in tokens, are ignored.
    public var dryAllowedLength: UInt32 = 2
    /// How many tokens DRY looks for repetitions in.
    public var dryPenaltyLastN: UInt32 = 1024
    /// The stages that run, in their order; those not listed do not run.
    public var stages = Stage.allCases
    /// The same seed gives the same result in every version; nil for another one in each session,
    /// which `Session.seed` tells.
    public var seed: UInt64?
    /// Texts that end what is generated, and are not part of it.
    public var stop: [String] = []
    /// Added to the logits of some tokens; minus infinity forbids one.
    public var bias: [UInt32: Float] = [:]

    public init() {}

    /// The defaults for a chat: small models often end in a loop without DRY and a penalty.
    public static var chat: Sampling {
        var sampling = Sampling()
        sampling.dryMultiplier = 0.8
        sampling.repeatPenalty = 1.05
        return sampling
    }

    func withC<T>(_ body: (UnsafePointer<attamba_sampling>) throws -> T) throws -> T {
        let stages = self.stages.map(\.rawValue)
        let bias = self.bias.map { attamba_bias(token: $0.key, bias: $0.value) }
        let stop = self.stop.map { UnsafePointer(strdup($0)) }
        defer { stop.forEach { free(UnsafeMutablePointer(mutating: $0)) } }
        return try bias.withUnsafeBufferPointer { bias in
            try stages.withUnsafeBufferPointer { stages in
                try stop.withUnsafeBufferPointer { stop in
                    var sampling = attamba_sampling()
                    sampling.struct_size = UInt32(MemoryLayout<attamba_sampling>.size)
                    try check(attamba_sampling_init(&sampling))
                    sampling.repeat_last = repeatLast
                    sampling.seed = seed ?? .max // ATTAMBA_SEED_RANDOM
                    sampling.stop = stop.baseAddress
                    sampling.stop_count = UInt64(stop.count)
                    sampling.repeat_penalty = repeatPenalty
                    sampling.top_k = topK
                    sampling.top_p = topP
                    sampling.min_p = minP
                    sampling.temperature = temperature
                    sampling.bias = bias.baseAddress
                    sampling.bias_count = UInt64(bias.count)
                    sampling.frequency_penalty = frequencyPenalty
                    sampling.presence_penalty = presencePenalty
                    sampling.typical_p = typicalP
                    sampling.xtc_probability = xtcProbability
                    sampling.xtc_threshold = xtcThreshold
                    sampling.dry_multiplier = dryMultiplier
                    sampling.dry_base = dryBase
                    sampling.dry_allowed_length = dryAllowedLength
                    sampling.dry_penalty_last_n = dryPenaltyLastN
                    sampling.stages = stages.baseAddress
                    sampling.stage_count = UInt32(stages.count)
                    return try body(&sampling)
                }
            }
        }
    }
}

/// Memory that a model and a session take, in bytes.
public struct Memory: Equatable, Sendable {
    /// Pages of the model file, which the system may reclaim when memory is short.
    public let weights: UInt64
    /// Copies of weights that the engine keeps in addition to the file.
    public let copied: UInt64
    /// The session's state.
    public let state: UInt64
    /// Scratch buffers.
    public let scratch: UInt64
    /// Snapshots that a chat keeps for undo.
    public let checkpoints: UInt64
    /// Weights on the GPU, shared by all sessions.
    public let device: UInt64

    init(_ fill: (UnsafeMutablePointer<attamba_memory>) throws -> Void) rethrows {
        var memory = attamba_memory()
        memory.struct_size = UInt32(MemoryLayout<attamba_memory>.size)
        try fill(&memory)
        weights = memory.weights
        copied = memory.copied
        state = memory.state
        scratch = memory.scratch
        checkpoints = memory.checkpoints
        device = memory.device
    }
}
