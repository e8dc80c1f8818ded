package org.attamba

/**
 * A model file that is open.
 *
 * All functions may be called on any thread. Opening reads files: not on the main thread. Sessions
 * stay usable when their model is closed.
 */
public class Model private constructor(number: Long) : AutoCloseable {
    private val handle = Handle(number, Native::modelClose)

    /** The name of the model as its file has it. */
    public val name: String
        get() = Native.modelName(handle.get()).utf8()

    /** The engine in words. */
    public val engine: String
        get() = Native.modelEngine(handle.get()).utf8()

    /** Tokens of context that the model was trained with. */
    public val context: Int
        get() = Native.modelInfo(handle.get())[2].toInt()

    /** Bytes of the file. */
    public val fileBytes: Long
        get() = Native.modelInfo(handle.get())[5]

    /** The tokens of a text; with [special], names such as `<|im_start|>` become their tokens. */
    public fun tokenize(text: String, special: Boolean = false): IntArray =
        Native.tokenize(handle.get(), text.utf8(), special)

    /** Opens a session; all of its memory is taken now. */
    public fun session(options: SessionOptions = SessionOptions()): Session {
        val (numbers, sampling) = options.numbers() to options.sampling
        return Session(
            Native.sessionOpen(handle.get(), numbers, sampling.numbers(), sampling.biased())
        )
    }

    /** Takes up the session that was saved at [path], with the budget that it had. */
    public fun load(path: String, options: SessionOptions = SessionOptions()): Session {
        val (numbers, sampling) = options.numbers() to options.sampling
        return Session(
            Native.sessionLoad(
                handle.get(),
                path.utf8(),
                numbers,
                sampling.numbers(),
                sampling.biased(),
            )
        )
    }

    override fun close(): Unit = handle.close()

    public companion object {
        /** The version of the native library. */
        public val version: String
            get() = Native.version().utf8()

        /** What the device can compute with. */
        public fun adapters(): List<Pair<Engine, String>> = buildList {
            Native.adapters { code, name ->
                add(Engine.entries.first { it.code == code } to name.utf8())
            }
        }

        /** Notes of the library in the log of the system, up to a level: 0 none, 5 everything. */
        public fun log(level: Int): Unit = Native.log(level)

        /**
         * Opens the model file at [path]. [progress] is told how far loading has come and may cancel
         * it, which throws [AttambaException.Status.CANCELLED].
         */
        public fun open(
            path: String,
            options: ModelOptions = ModelOptions(),
            progress: Progress? = null,
        ): Model {
            val (engine, threads, preload, adapter) = options
            val (code, gpu) = engine.code to adapter?.utf8()
            return Model(Native.modelOpen(path.utf8(), code, gpu, threads, preload, progress))
        }

        /**
         * Opens [length] bytes (0: all that follow) from byte [offset] of an open file on. The
         * descriptor stays the caller's and may be closed afterwards.
         */
        public fun open(
            fd: Int,
            offset: Long = 0,
            length: Long = 0,
            options: ModelOptions = ModelOptions(),
            progress: Progress? = null,
        ): Model {
            val (engine, threads, preload, adapter) = options
            val (code, gpu) = engine.code to adapter?.utf8()
            return Model(
                Native.modelOpenFd(fd, offset, length, code, gpu, threads, preload, progress)
            )
        }

        /**
         * What the model at [path] and a session would take, without loading it: on the GPU if the
         * options ask for it, else on the CPU.
         */
        public fun estimate(
            path: String,
            options: SessionOptions = SessionOptions(),
            loading: ModelOptions = ModelOptions(),
        ): Memory = Memory(Native.estimate(path.utf8(), loading.threads, options.numbers()))

        /** As above, of a model inside an open file. */
        public fun estimate(
            fd: Int,
            offset: Long,
            length: Long,
            options: SessionOptions = SessionOptions(),
            loading: ModelOptions = ModelOptions(),
        ): Memory =
            Memory(Native.estimateFd(fd, offset, length, loading.threads, options.numbers()))
    }
}

internal fun String.utf8(): ByteArray = toByteArray(Charsets.UTF_8)

internal fun ByteArray.utf8(): String = String(this, Charsets.UTF_8)
