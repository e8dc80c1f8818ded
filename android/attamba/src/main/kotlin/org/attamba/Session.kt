package org.attamba

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.withContext

/**
 * One conversation, or one text, on a model. Its memory is fixed when it is opened.
 *
 * One call at a time: a second call in the meantime throws [AttambaException.Status.BUSY]. [cancel],
 * [pause], [resume], [shrink] and [close] may be called at any time, from any thread. Operations that
 * take time are `suspend` functions or a [Flow], and run on a thread of their own.
 */
public class Session internal constructor(number: Long) : AutoCloseable {
    private val handle = Handle(number, Native::sessionClose)

    /** Why a text ended. */
    public enum class Finish {
        /** The model ended it. */
        ENDED,

        /** The limit of tokens was reached. */
        LIMIT,

        /** The collector stopped it. */
        STOPPED,

        /** It was cancelled after it had begun. What was generated so far counts. */
        CANCELLED,

        /** It was cancelled before the answer of a chat began: the message does not count. */
        DROPPED,

        /** One of [Sampling.stop] was generated. */
        STOP_TEXT,
    }

    /** Why the last text of [chat] or [generate] ended; null before the first, and while one is generated. */
    @Volatile
    public var finish: Finish? = null
        private set

    /**
     * Answers [message] with at most [most] tokens. Nothing happens until the flow is collected; a
     * collector that is cancelled, or ends early, stops the engine within a few tokens. The chat
     * continues from the partial answer. [onToken], if there is one, gets each token with the [top]
     * most likely ones, on the thread that computes.
     */
    public fun chat(
        message: String,
        most: Int = DEFAULT_MOST,
        top: Int = 0,
        onToken: ((Token) -> Unit)? = null,
    ): Flow<String> = text(message.utf8(), most, top, onToken)

    /** Continues the text that was fed, with at most [most] tokens; a flow like that of [chat]. */
    public fun generate(
        most: Int = DEFAULT_MOST,
        top: Int = 0,
        onToken: ((Token) -> Unit)? = null,
    ): Flow<String> = text(null, most, top, onToken)

    private fun text(
        message: ByteArray?,
        most: Int,
        top: Int,
        onToken: ((Token) -> Unit)?,
    ): Flow<String> {
        val tokens = onToken?.let { each ->
            TokenSink { token, logprob, ids, logprobs ->
                each(Token(token, logprob, ids.zip(logprobs.toTypedArray())))
            }
        }
        return textFlow(handle) { sink ->
            finish = null
            val code = Native.sessionRun(handle.get(), message, most, sink, top, tokens)
            finish = Finish.entries[code]
        }
    }

    /**
     * Discards what was before and starts a chat with [messages], role and text, which are processed
     * now: those of a chat that the app has kept, or [messages] of this one with another instruction.
     */
    public suspend fun begin(messages: List<Pair<String, String>>): Unit =
        working(handle) { Native.sessionBegin(handle.get(), messages.utf8()) }

    /**
     * [begin] with messages in JSON: an array of objects with `role`, `content`, and what else the
     * template reads, such as `tool_calls`.
     */
    public suspend fun beginJson(messages: String): Unit =
        working(handle) { Native.sessionBeginJson(handle.get(), messages.utf8()) }

    /**
     * Tells the template what it should know beside the messages, from the next message on: an object
     * in JSON, such as `{"tools": [...]}`; an empty text for nothing.
     */
    public fun setVariables(variables: String): Unit =
        Native.sessionSetVariables(handle.get(), variables.utf8())

    /**
     * [chat] for messages in JSON: one object, such as what a tool returned, or an array of several; an
     * empty array answers the messages there are.
     */
    public fun chatJson(messages: String, most: Int = DEFAULT_MOST): Flow<String> =
        textFlow(handle) { sink ->
            finish = null
            val code = Native.sessionChatJson(handle.get(), messages.utf8(), most, sink)
            finish = Finish.entries[code]
        }

    /** How many tokens [begin] would process. */
    public fun count(messages: List<Pair<String, String>>): Long =
        Native.sessionCount(handle.get(), messages.utf8())

    /**
     * Changes how tokens are chosen from now on; null for the defaults: [Sampling.chat] in a chat, else
     * `Sampling()`.
     */
    public fun setSampling(sampling: Sampling?) {
        val options = SessionOptions(sampling = sampling).numbers()
        Native.sessionSetSampling(
            handle.get(),
            options,
            sampling?.numbers(),
            sampling?.biased(),
            sampling?.stops(),
        )
    }

    private fun List<Pair<String, String>>.utf8(): Array<ByteArray> =
        flatMap { (role, text) -> listOf(role.utf8(), text.utf8()) }.toTypedArray()

    /**
     * Discards what was before and starts a chat with an instruction, which is processed now: a
     * document to ask questions about is read only once.
     */
    public suspend fun instruct(text: String): Unit =
        working(handle) { Native.sessionInstruct(handle.get(), text.utf8()) }

    /** Processes raw text, for [generate]. */
    public suspend fun feed(text: String, special: Boolean = false): Unit =
        working(handle) { Native.sessionFeed(handle.get(), text.utf8(), special) }

    /** Processes tokens, for [generate]. */
    public suspend fun feed(tokens: IntArray): Unit =
        working(handle) { Native.sessionFeedTokens(handle.get(), tokens) }

    /** Saves state and messages at [path]; [Model.load] resumes them. */
    public suspend fun save(path: String): Unit =
        withContext(Dispatchers.IO) { Native.sessionSave(handle.get(), path.utf8()) }

    /** Undoes the last message and its answer; returns whether there was one. */
    public fun undo(): Boolean = Native.sessionUndo(handle.get())

    /** Forgets everything. */
    public fun reset(): Unit = Native.sessionReset(handle.get())

    /** The messages of the chat, oldest first: role and text. Of a very long chat the oldest ones are missing. */
    public fun messages(): List<Pair<String, String>> = buildList {
        Native.sessionMessages(handle.get()) { role, text -> add(role.utf8() to text.utf8()) }
    }

    /** The session as it is now, kept in memory. */
    public fun snapshot(): Snapshot = Snapshot(Native.sessionSnapshot(handle.get()))

    /** Restores a snapshot, earlier or later than the current state. */
    public fun rewind(to: Snapshot): Unit = Native.sessionRewind(handle.get(), to.handle.get())

    /** A second session that continues from here. It takes as much memory. */
    public fun fork(): Session = Session(Native.sessionFork(handle.get()))

    /** Stops the call in progress, or, if there is none, the next one before it begins. */
    public fun cancel(): Unit = Native.sessionCancel(handle.get())

    /** Withdraws a [cancel] that no call has met. */
    public fun clearCancel(): Unit = Native.sessionClearCancel(handle.get())

    /** Computes nothing until [resume]: for an app in the background. */
    public fun pause(): Unit = Native.sessionPause(handle.get())

    /** Ends a pause. */
    public fun resume(): Unit = Native.sessionResume(handle.get())

    /**
     * Shrinks the session's state to at most [bytes], also while paused; the oldest context is evicted.
     * A session on a GPU is shrunk after the pause.
     */
    public fun shrink(bytes: Long): Unit = Native.sessionShrink(handle.get(), bytes)

    /** The logits of the last token of raw text, one for each token of the vocabulary. */
    public fun logits(): FloatArray = Native.sessionLogits(handle.get())

    /** Memory that the session takes. */
    public val memory: Memory
        get() = Memory(Native.sessionMemory(handle.get()))

    /**
     * What the session remembers, in a sentence for people: `14 of 90 heads see the last 8,192 tokens,
     * the others the last 2,798; 22.5 MiB in int4`.
     */
    public val reach: String
        get() = Native.sessionReach(handle.get()).utf8()

    /** Tokens processed since the start. */
    public val position: Long
        get() = Native.sessionInfo(handle.get())[0]

    /** Seed of the draws. */
    public val seed: Long
        get() = Native.sessionInfo(handle.get())[6]

    /** Tokens per second of the last answer, 0 before the first. */
    public val tokensPerSecond: Double
        get() {
            val seconds = Native.sessionTimes(handle.get())[1]
            return if (seconds > 0) Native.sessionInfo(handle.get())[5] / seconds else 0.0
        }

    /** Stops the call in progress, waits for it to end, and frees the memory. */
    override fun close(): Unit = handle.close()

    private companion object {
        const val DEFAULT_MOST = 512
    }
}

/** A token that was generated. */
public data class Token(
    val id: Int,
    /** The natural logarithm of its probability, before any stage of the sampler. */
    val logprob: Float,
    /** The most likely tokens with theirs, most likely first. */
    val top: List<Pair<Int, Float>>,
)

/** A session's state at some moment. */
public class Snapshot internal constructor(number: Long) : AutoCloseable {
    internal val handle = Handle(number, Native::snapshotClose)

    /** Size in bytes. */
    public val bytes: Long
        get() = Native.snapshotBytes(handle.get())

    override fun close(): Unit = handle.close()
}
