package org.attamba

/** The engine that computes. */
public enum class Engine(internal val code: Int) {
    /** For a model, the best engine of the device; for a session, its model's engine. */
    AUTO(0),
    CPU(1),
    GPU(2),
}

/** How activations are rounded. */
public enum class Activations(internal val code: Int) {
    /** 14 bits: the logits are those of the weights in the file. */
    INT14(0),
    /**
     * 8 bits: faster, above all in prefill, with logits that are less exact. On a GPU with matrix units: half
     * precision in prefill.
     */
    INT8(1),
}

/** A part of loading a model. */
public enum class LoadingPart(internal val code: Int) {
    /** Reading the file, if the options say `inMemory` or `preload`. */
    READ(0),
    /** Uploading weights to a GPU. */
    UPLOAD(1),
}

/** A device that an engine runs on. */
public data class Adapter(
    val engine: Engine,
    val name: String,
    /**
     * Bytes of memory that it computes in: its own, or of the host's, where it shares that, as much as
     * it may use; 0 if it is not known.
     */
    val memory: Long,
)

/** How much context a session can hold. This fixes its memory when it is opened. */
public sealed class Budget(internal val kind: Int, internal val amount: Long) {
    /** The context length that the model was trained with. */
    public data object Context : Budget(0, 0)

    /** Chunk states per layer. */
    public data class States(val count: Long) : Budget(1, count)

    /** Tokens. */
    public data class Tokens(val count: Long) : Budget(2, count)

    /** Bytes of the session's state. */
    public data class Bytes(val count: Long) : Budget(3, count)
}

/** How keys and values are stored. */
public enum class Kv(internal val code: Int) {
    /** [F16], or fewer bits where only these fit a budget in bytes and some heads are to see far. */
    DEFAULT(0),
    F32(1),

    /** Chunk states as 8-bit integers. */
    I8(2),
    F16(3),

    /** Chunk states as 4-bit integers, for heads of 32, 64, 128 or 256 values. */
    I4(4),
}

/** How the hidden states of a text become one vector. */
public enum class Pooling(internal val code: Int) {
    /** As the model's file says; their mean if it says nothing. */
    DEFAULT(0),
    MEAN(1),

    /** That of the last token. */
    LAST(2),
}

/** What is evicted when a session's memory is full. */
public enum class Policy(internal val code: Int) {
    /** The oldest chunk state. */
    DROP(0),

    /** Every second chunk state of the older half. */
    THIN(1),

    /** What the model's retention gates score lowest, head by head: for transformers whose file has such gates. */
    RETAIN(2),
}

/** How a model is opened. */
public data class ModelOptions(
    val engine: Engine = Engine.AUTO,
    /** Threads of the CPU engine; 0 uses the fast cores, at most 4. */
    val threads: Int = 0,
    /** Reads the whole file now, so that the first answer does not wait for storage. */
    val preload: Boolean = false,
    /** Part of the name of the GPU to use; by default the fastest. */
    val adapter: String? = null,
    /**
     * Reads the file into memory instead of mapping it, so that it may change while the model is
     * open. The system cannot reclaim that memory.
     */
    val inMemory: Boolean = false,
    /**
     * A folder for compiled kernels of the GPU, such as `File(context.cacheDir, "attamba").path`, so
     * that a later start takes less time; null keeps them nowhere.
     */
    val cacheFolder: String? = null,
    /**
     * Whether sessions of the CPU engine that generate on several threads at the same time decode
     * together, which reads the weights once for all of them.
     */
    val batching: Boolean = false,
    /** How activations are rounded before they are multiplied with quantized weights. */
    val activations: Activations = Activations.INT14,
)

/** How a session is opened. */
public data class SessionOptions(
    val budget: Budget = Budget.Context,
    val engine: Engine = Engine.AUTO,
    val kv: Kv = Kv.DEFAULT,
    val policy: Policy = Policy.DROP,
    /** Tokens per chunk; 0 for the length that the model was trained with. */
    val chunk: Int = 0,
    /** How tokens are chosen; null for the defaults: [Sampling.chat] in a chat, else `Sampling()`. */
    val sampling: Sampling? = null,
    /**
     * Whether messages of a chat that spell special tokens, such as `<|im_end|>`, become these
     * tokens; only for messages that the application writes itself.
     */
    val parseSpecial: Boolean = false,
    /** How keys and values of heads that see far are stored; by default like the others. */
    val farKv: Kv = Kv.DEFAULT,
    /**
     * How many KV heads see far, the first ones of the model's profile; null for as many as are worth
     * their bytes and a budget in bytes allows; without one, those of a model with mixers.
     */
    val farHeads: Int? = null,
    /** Tokens that the other heads see at least; 0 for what the profile says. */
    val nearTokens: Int = 0,
    /** Tokens that heads see if they see far; 0 for the context that the model was trained with. */
    val horizon: Long = 0,
    /**
     * The most bytes of the snapshots that a chat keeps in order to go back; 0 for 32 MiB. With fewer
     * than one takes it keeps none, and [Session.undo] processes the chat again.
     */
    val checkpointBytes: Long = 0,
) {
    /** Then, if there is a [sampling], its whole numbers and its stages. */
    internal fun numbers(): LongArray =
        longArrayOf(
            engine.code.toLong(),
            budget.kind.toLong(),
            budget.amount,
            kv.code.toLong(),
            policy.code.toLong(),
            chunk.toLong(),
            if (parseSpecial) 1 else 0,
            farKv.code.toLong(),
            // The C options have 0 for the default, and negative numbers for none.
            if (farHeads == 0) -1 else farHeads?.toLong() ?: 0,
            nearTokens.toLong(),
            horizon,
            checkpointBytes,
        ) + (sampling?.whole() ?: longArrayOf())
}

/** A stage of the chain that tokens are chosen by; they run in this order by default. */
public enum class Stage(internal val code: Int) {
    PENALTIES(0),
    DRY(1),
    TOP_K(2),
    TYPICAL_P(3),
    TOP_P(4),
    MIN_P(5),
    XTC(6),
    TEMPERATURE(7),
}

/** How tokens are chosen. */
public data class Sampling(
    /** 0 always picks the most likely token. */
    val temperature: Float = 0.8f,
    /** Keeps only this many of the most likely tokens; 0 for all. */
    val topK: Int = 40,
    /** Keeps only the most likely tokens that together have this probability. */
    val topP: Float = 0.95f,
    /** Keeps only tokens whose probability is at least this fraction of the most likely token's. */
    val minP: Float = 0.05f,
    /** Divides the logits of recent tokens; 1 is off. */
    val repeatPenalty: Float = 1f,
    /** How many tokens are recent to the three penalties. */
    val repeatLast: Int = 64,
    /** Added to the logits of some tokens; minus infinity forbids one. */
    val bias: Map<Int, Float> = emptyMap(),
    /**
     * The same seed gives the same result in every version; null for another one in each session,
     * which [Session.seed] tells.
     */
    val seed: Long? = null,
    /** Subtracted from the logit of a recent token for each of its occurrences; 0 is off. */
    val frequencyPenalty: Float = 0f,
    /** Subtracted from the logit of a recent token; 0 is off. */
    val presencePenalty: Float = 0f,
    /** Keeps only the most typical tokens that together have this probability; 1 for all. */
    val typicalP: Float = 1f,
    /** Probability that XTC acts on a token; 0 is off. */
    val xtcProbability: Float = 0f,
    /** Of the tokens of at least this probability XTC keeps only the least likely. */
    val xtcThreshold: Float = 0.1f,
    /** DRY: how much less likely tokens become that continue a repetition; 0 is off. */
    val dryMultiplier: Float = 0f,
    /** The factor by which that grows with each repeated token. */
    val dryBase: Float = 1.75f,
    /** Shorter repetitions, in tokens, are ignored. */
    val dryAllowedLength: Int = 2,
    /** How many tokens DRY looks for repetitions in. */
    val dryPenaltyLastN: Int = 1024,
    /** The stages that run, in their order; those not listed do not run. */
    val stages: List<Stage> = Stage.entries,
    /** Texts that end what is generated, and are not part of it. */
    val stop: List<String> = emptyList(),
) {
    /** In the order of session_sampling; then the values added to [biased]. */
    internal fun numbers(): FloatArray =
        floatArrayOf(
            repeatPenalty,
            topP,
            minP,
            temperature,
            frequencyPenalty,
            presencePenalty,
            typicalP,
            xtcProbability,
            xtcThreshold,
            dryMultiplier,
            dryBase,
        ) + bias.values.toFloatArray()

    internal fun biased(): IntArray = bias.keys.toIntArray()

    internal fun stops(): Array<ByteArray> = stop.map { it.utf8() }.toTypedArray()

    internal fun whole(): LongArray =
        longArrayOf(
            // ATTAMBA_SEED_RANDOM
            seed ?: -1,
            repeatLast.toLong(),
            topK.toLong(),
            dryAllowedLength.toLong(),
            dryPenaltyLastN.toLong(),
        ) + stages.map { it.code.toLong() }.toLongArray()

    public companion object {
        /** The defaults for a chat: small models often end in a loop without DRY and a penalty. */
        public val chat: Sampling = Sampling(repeatPenalty = 1.05f, dryMultiplier = 0.8f)
    }
}

/** Memory that a model and a session take, in bytes. */
public data class Memory(
    /** Pages of the model file, which the system may reclaim when memory is short. */
    val weights: Long,
    /** Copies of weights that the engine keeps in addition to the file. */
    val copied: Long,
    /** The session's state. */
    val state: Long,
    /** Scratch buffers. */
    val scratch: Long,
    /** Snapshots that a chat keeps for undo. */
    val checkpoints: Long,
    /** Weights on the GPU, shared by all sessions. */
    val device: Long,
) {
    internal constructor(
        n: LongArray
    ) : this(n[0], n[1], n[2], n[3], n[4], n[5])
}
