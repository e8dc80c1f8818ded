package org.attamba

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/**
 * An open model file.
 *
 * All functions may be called on any thread; those that take time suspend, and run elsewhere. Sessions
 * stay usable after their model is closed.
 */
public class Model private constructor(number: Long) : AutoCloseable {
    private val handle = Handle(number, Native::modelClose)

    /** The model's name as stored in its file. */
    public val name: String
        get() = Native.modelName(handle.get()).utf8()

    /** A description of the engine. */
    public val engine: String
        get() = Native.modelEngine(handle.get()).utf8()

    /** The context length, in tokens, that the model was trained with. */
    public val context: Int
        get() = Native.modelInfo(handle.get())[2].toInt()

    /** The size of the file in bytes. */
    public val fileBytes: Long
        get() = Native.modelInfo(handle.get())[5]

    /** Whether the file has a chat template that can be used. */
    public val hasTemplate: Boolean
        get() = Native.modelInfo(handle.get())[7] != 0L

    /** Whether that template mentions tools. */
    public val hasTools: Boolean
        get() = Native.modelInfo(handle.get())[8] != 0L

    /** Whether the model was made for [embed]. */
    public val embeds: Boolean
        get() = Native.modelInfo(handle.get())[9] != 0L

    /**
     * The value of a key of the file's metadata, as text: `general.architecture` for the family, any
     * other key of the file, or `quantization`.
     */
    public fun metadata(key: String): String =
        Native.modelMetadata(handle.get(), key.utf8()).utf8()

    /**
     * A text as a vector of length 1, to compare texts by; the log has a warning for a model that was
     * not made for it. It takes time in proportion to the text.
     */
    public suspend fun embed(text: String, pooling: Pooling = Pooling.DEFAULT): FloatArray =
        withContext(Dispatchers.IO) { Native.embed(handle.get(), text.utf8(), pooling.code) }

    /** The text of tokens; with [special], special tokens give their names. */
    public fun detokenize(tokens: IntArray, special: Boolean = false): String =
        Native.detokenize(handle.get(), tokens, special).utf8()

    /** Tokenizes a text; with [special], names such as `<|im_start|>` become their tokens. */
    public fun tokenize(text: String, special: Boolean = false): IntArray =
        Native.tokenize(handle.get(), text.utf8(), special)

    /** Opens a session and allocates all of its memory. */
    public suspend fun session(options: SessionOptions = SessionOptions()): Session = opening {
        val (numbers, sampling) = options.numbers() to options.sampling
        Session(
            Native.sessionOpen(
                handle.get(),
                numbers,
                sampling?.numbers(),
                sampling?.biased(),
                sampling?.stops(),
            )
        )
    }

    /** Resumes the session that was saved at [path], with the budget it had. */
    public suspend fun load(path: String, options: SessionOptions = SessionOptions()): Session =
        opening {
            val (numbers, sampling) = options.numbers() to options.sampling
            Session(
                Native.sessionLoad(
                    handle.get(),
                    path.utf8(),
                    numbers,
                    sampling?.numbers(),
                    sampling?.biased(),
                    sampling?.stops(),
                )
            )
        }

    override fun close(): Unit = handle.close()

    public companion object {
        /** The version of the native library. */
        public val version: String
            get() = Native.version().utf8()

        /** The devices that can compute: GPUs, the fastest kinds first, and the CPU last. */
        public fun adapters(): List<Adapter> = buildList {
            Native.adapters { code, name, memory ->
                add(Adapter(Engine.entries.first { it.code == code }, name.utf8(), memory))
            }
        }

        /** Writes the library's log messages to the system log, up to a level: 0 none, 5 everything. */
        public fun log(level: Int): Unit = Native.log(level)

        /**
         * Opens the model file at [path]. Unless the options say `inMemory`, the file is mapped and
         * must be neither written to nor shortened while the model is open. [progress] receives the
         * progress of loading, also in bytes, on another thread, and may cancel it, which throws
         * [AttambaException.Status.CANCELLED]. Loading is cancelled with the coroutine, too.
         */
        public suspend fun open(
            path: String,
            options: ModelOptions = ModelOptions(),
            progress: Progress? = null,
        ): Model = opening(progress) { report ->
            val (engine, threads, preload, adapter, inMemory) = options
            val (code, gpu, cache) = Triple(engine.code, adapter?.utf8(), options.cacheFolder?.utf8())
            Model(
                Native.modelOpen(
                    path.utf8(),
                    code,
                    gpu,
                    threads,
                    preload,
                    inMemory,
                    options.batching,
                    options.activations.code,
                    cache,
                    report,
                )
            )
        }

        /**
         * Opens [length] bytes (0: to the end) starting at byte [offset] of an open file. The caller
         * keeps ownership of the descriptor and may close it afterwards.
         */
        public suspend fun open(
            fd: Int,
            offset: Long = 0,
            length: Long = 0,
            options: ModelOptions = ModelOptions(),
            progress: Progress? = null,
        ): Model = opening(progress) { report ->
            val (engine, threads, preload, adapter, inMemory) = options
            val (code, gpu, cache) = Triple(engine.code, adapter?.utf8(), options.cacheFolder?.utf8())
            Model(
                Native.modelOpenFd(
                    fd,
                    offset,
                    length,
                    code,
                    gpu,
                    threads,
                    preload,
                    inMemory,
                    options.batching,
                    options.activations.code,
                    cache,
                    report,
                )
            )
        }

        /**
         * The memory that the model at [path] and a session would need, without loading it: on the GPU
         * if the options ask for it, else on the CPU.
         */
        public fun estimate(
            path: String,
            options: SessionOptions = SessionOptions(),
            loading: ModelOptions = ModelOptions(),
        ): Memory {
            val engine = loading.engine.code
            return Memory(Native.estimate(path.utf8(), engine, loading.threads, options.numbers()))
        }

        /** As above, for a model inside an open file. */
        public fun estimate(
            fd: Int,
            offset: Long,
            length: Long,
            options: SessionOptions = SessionOptions(),
            loading: ModelOptions = ModelOptions(),
        ): Memory {
            val (engine, threads) = loading.engine.code to loading.threads
            return Memory(
                Native.estimateFd(fd, offset, length, engine, threads, options.numbers())
            )
        }
    }
}

internal fun String.utf8(): ByteArray = toByteArray(Charsets.UTF_8)

internal fun ByteArray.utf8(): String = String(this, Charsets.UTF_8)
