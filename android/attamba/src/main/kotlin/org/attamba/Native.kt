package org.attamba

/** The functions of the JNI shim, one for each function of the C API. They throw [AttambaException]. */
internal object Native {
    init {
        System.loadLibrary("attamba_jni")
    }

    external fun version(): ByteArray

    external fun adapters(each: Adapters)

    external fun log(level: Int)

    external fun modelOpen(
        path: ByteArray,
        engine: Int,
        adapter: ByteArray?,
        threads: Int,
        preload: Boolean,
        inMemory: Boolean,
        batching: Boolean,
        activations: Int,
        cache: ByteArray?,
        progress: LoadingSink,
    ): Long

    external fun modelOpenFd(
        fd: Int,
        offset: Long,
        length: Long,
        engine: Int,
        adapter: ByteArray?,
        threads: Int,
        preload: Boolean,
        inMemory: Boolean,
        batching: Boolean,
        activations: Int,
        cache: ByteArray?,
        progress: LoadingSink,
    ): Long

    external fun modelClose(model: Long)

    external fun modelName(model: Long): ByteArray

    external fun modelEngine(model: Long): ByteArray

    external fun modelMetadata(model: Long, key: ByteArray): ByteArray

    external fun detokenize(model: Long, tokens: IntArray, special: Boolean): ByteArray

    external fun embed(model: Long, text: ByteArray, pooling: Int): FloatArray

    /**
     * vocabulary, layers, context, chunk, window, size of the file in bytes, width, whether it has a
     * template, whether that has tools, whether it embeds
     */
    external fun modelInfo(model: Long): LongArray

    external fun tokenize(model: Long, text: ByteArray, special: Boolean): IntArray

    /** weights, copied, state, scratch, checkpoints, device */
    external fun estimate(
        path: ByteArray,
        engine: Int,
        threads: Int,
        options: LongArray,
    ): LongArray

    external fun estimateFd(
        fd: Int,
        offset: Long,
        length: Long,
        engine: Int,
        threads: Int,
        options: LongArray,
    ): LongArray

    external fun sessionOpen(
        model: Long,
        options: LongArray,
        sampling: FloatArray?,
        biased: IntArray?,
        stop: Array<ByteArray>?,
    ): Long

    external fun sessionLoad(
        model: Long,
        path: ByteArray,
        options: LongArray,
        sampling: FloatArray?,
        biased: IntArray?,
        stop: Array<ByteArray>?,
    ): Long

    /** The options of the session are not used. */
    external fun sessionSetSampling(
        session: Long,
        options: LongArray,
        sampling: FloatArray?,
        biased: IntArray?,
        stop: Array<ByteArray>?,
    )

    external fun sessionClose(session: Long)

    external fun sessionReset(session: Long)

    external fun sessionCancel(session: Long)

    external fun sessionClearCancel(session: Long)

    external fun sessionPause(session: Long)

    external fun sessionResume(session: Long)

    external fun sessionShrink(session: Long, bytes: Long)

    external fun sessionSave(session: Long, path: ByteArray)

    external fun sessionInstruct(session: Long, text: ByteArray)

    /** Roles and texts in turn. */
    external fun sessionBegin(session: Long, messages: Array<ByteArray>)

    external fun sessionCount(session: Long, messages: Array<ByteArray>): Long

    external fun sessionBeginJson(session: Long, messages: ByteArray)

    external fun sessionSetVariables(session: Long, variables: ByteArray)

    external fun sessionChatJson(session: Long, messages: ByteArray, most: Int, each: TextSink): Int

    /** Answers a message, or without one continues raw text. */
    external fun sessionRun(
        session: Long,
        message: ByteArray?,
        most: Int,
        each: TextSink,
        top: Int,
        tokens: TokenSink?,
    ): Int

    external fun sessionUndo(session: Long): Boolean

    external fun sessionMessages(session: Long, each: Messages)

    external fun sessionFeed(session: Long, text: ByteArray, special: Boolean)

    external fun sessionFeedTokens(session: Long, tokens: IntArray)

    external fun sessionFork(session: Long): Long

    external fun sessionSnapshot(session: Long): Long

    external fun sessionRewind(session: Long, snapshot: Long)

    /** position, states, state capacity, messages, tokens of the prompt, of the answer, seed */
    external fun sessionInfo(session: Long): LongArray

    /** seconds for the prompt, for the answer */
    external fun sessionTimes(session: Long): DoubleArray

    external fun sessionMemory(session: Long): LongArray

    external fun sessionReach(session: Long): ByteArray

    external fun sessionLogits(session: Long): FloatArray

    external fun snapshotBytes(snapshot: Long): Long

    external fun snapshotClose(snapshot: Long)
}

/** Receives the progress of loading; both functions return whether to continue. */
public fun interface Progress {
    /** What is done, 0 to 1. */
    public fun onProgress(done: Float): Boolean

    /** The bytes of a part that are done, and all of them; called every few megabytes. */
    public fun onBytes(part: LoadingPart, done: Long, all: Long): Boolean = true
}

/** The progress of loading as it arrives from the library. */
internal interface LoadingSink {
    fun onProgress(done: Float): Boolean

    fun onBytes(part: Int, done: Long, all: Long): Boolean
}

/** Receives UTF-8 text, whole characters only; returns whether to continue. */
internal fun interface TextSink {
    fun onText(utf8: ByteArray): Boolean
}

/** Receives a token, its log probability, and those of the most likely ones. */
internal fun interface TokenSink {
    fun onToken(token: Int, logprob: Float, top: IntArray, logprobs: FloatArray)
}

internal fun interface Messages {
    fun onMessage(role: ByteArray, text: ByteArray)
}

internal fun interface Adapters {
    fun onAdapter(engine: Int, name: ByteArray, memory: Long)
}
