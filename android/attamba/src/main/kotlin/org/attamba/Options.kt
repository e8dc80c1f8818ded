package org.attamba

/** What computes. */
public enum class Engine(internal val code: Int) {
    /** For a model the best of the device, for a session that of its model. */
    AUTO(0),
    CPU(1),
    GPU(2),
}

/** How much a session may remember. Its memory is fixed by this when it is opened. */
public sealed class Budget(internal val kind: Int, internal val amount: Long) {
    /** As much as the model was trained with. */
    public data object Context : Budget(0, 0)

    /** Chunk states a layer. */
    public data class States(val count: Long) : Budget(1, count)

    /** Tokens. */
    public data class Tokens(val count: Long) : Budget(2, count)

    /** Bytes of the session's state. */
    public data class Bytes(val count: Long) : Budget(3, count)
}

/** How keys and values are stored. */
public enum class Kv(internal val code: Int) {
    F16(0),
    F32(1),

    /** Chunk states in integers of eight bits. */
    I8(2),
}

/** What goes when a session's memory is full. */
public enum class Policy(internal val code: Int) {
    /** The oldest chunk state. */
    DROP(0),

    /** Every second chunk state of the older half. */
    THIN(1),
}

/** How a model is opened. */
public data class ModelOptions(
    val engine: Engine = Engine.AUTO,
    /** Threads of the CPU engine; 0 takes the fast cores, at most 4. */
    val threads: Int = 0,
    /** Reads all of the file now, so that the first answer need not wait for the storage. */
    val preload: Boolean = false,
    /** A part of the name of the GPU to take, if not the fastest. */
    val adapter: String? = null,
)

/** How a session is opened. */
public data class SessionOptions(
    val budget: Budget = Budget.Context,
    val engine: Engine = Engine.AUTO,
    val kv: Kv = Kv.F16,
    val policy: Policy = Policy.DROP,
    /** Tokens a chunk; 0 for what the model was trained with. */
    val chunk: Int = 0,
    val sampling: Sampling = Sampling(),
) {
    internal fun numbers(): LongArray =
        longArrayOf(
            engine.code.toLong(),
            budget.kind.toLong(),
            budget.amount,
            kv.code.toLong(),
            policy.code.toLong(),
            chunk.toLong(),
            sampling.seed,
            sampling.repeatLast.toLong(),
            sampling.topK.toLong(),
        )
}

/** How tokens are chosen. */
public data class Sampling(
    /** 0 takes the most likely. */
    val temperature: Float = 0.8f,
    /** Only so many of the most likely; 0 for all. */
    val topK: Int = 40,
    /** Only the most likely that together have this probability. */
    val topP: Float = 0.95f,
    /** Only those at least so many times as likely as the most likely. */
    val minP: Float = 0.05f,
    /** 1 is off. */
    val repeatPenalty: Float = 1f,
    val repeatLast: Int = 64,
    /** Added to the logits of some tokens; minus infinity forbids one. */
    val bias: Map<Int, Float> = emptyMap(),
    /** A seed means the same for ever. */
    val seed: Long = 0,
) {
    /** Penalty, top-p, min-p, temperature; then what is added to [biased]. */
    internal fun numbers(): FloatArray =
        floatArrayOf(repeatPenalty, topP, minP, temperature) + bias.values.toFloatArray()

    internal fun biased(): IntArray = bias.keys.toIntArray()
}

/** Bytes that a model and a session take. */
public data class Memory(
    /** Pages of the model file, which the system may take away where memory is short. */
    val weights: Long,
    /** What the engine keeps of the weights beside the file. */
    val copied: Long,
    /** What the session remembers. */
    val state: Long,
    /** Buffers to compute in. */
    val scratch: Long,
    /** What a chat keeps in order to go back. */
    val checkpoints: Long,
    /** Weights on the GPU, shared by all sessions. */
    val device: Long,
) {
    internal constructor(
        n: LongArray
    ) : this(n[0], n[1], n[2], n[3], n[4], n[5])
}
