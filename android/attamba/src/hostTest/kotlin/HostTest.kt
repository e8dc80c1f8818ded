// Tests the wrapper on the development machine's JVM: the real library, the real shim, the bundled
// model. Arguments: the model file, a folder to write to, and one on a disk that has no room.

import android.content.ComponentCallbacks
import android.content.ComponentCallbacks2
import android.content.ContentResolver
import android.content.Context
import android.content.res.AssetFileDescriptor
import android.content.res.AssetManager
import android.net.Uri
import android.os.ParcelFileDescriptor
import java.io.File
import java.io.FileDescriptor
import java.io.FileInputStream
import java.io.FileNotFoundException
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.attamba.Activations
import org.attamba.AttambaException
import org.attamba.AttambaException.Status
import org.attamba.Budget
import org.attamba.Engine
import org.attamba.LoadingPart
import org.attamba.Model
import org.attamba.ModelOptions
import org.attamba.Pooling
import org.attamba.Progress
import org.attamba.Sampling
import org.attamba.Session
import org.attamba.SessionOptions
import org.attamba.Token
import org.attamba.android.MemoryPressure
import org.attamba.android.openAsset
import org.attamba.android.openUri

private const val FOREVER = Int.MAX_VALUE
private const val BIRD = "\uD83D\uDC26"

private val greedy =
    SessionOptions(budget = Budget.States(64), sampling = Sampling(temperature = 0f))

private val large = greedy.copy(budget = Budget.States(1024))

private class HostTest(private val file: File, private val folder: File, private val full: File) {
    fun run() {
        test("activations are rounded as the options say", ::activationsAreRoundedAsTheOptionsSay)
        test("a chat, saved and resumed", ::chatIsSavedAndResumed)
        test("snapshots and forks", ::snapshotsAndForks)
        test("an emoji made of several tokens", ::emoji)
        test("non-ASCII text", ::anyText)
        test("a collector that ends early", ::collectorEndsEarly)
        test("cancelled during the answer", ::cancelled)
        test("cancelled during prefill", ::cancelledInThePrompt)
        test("cancelled at any moment", ::cancelledAtAnyMoment)
        test("cancelled between two calls", ::cancelledBetweenCalls)
        test("what a file says, and texts as vectors", ::described)
        test("a chat that begins from messages", ::begun)
        test("why a text ended, and texts that end it", ::finished)
        test("closed during the answer", ::closedMeanwhile)
        test("closed by a slow collector", ::closedBySlowCollector)
        test("paused", ::paused)
        test("two calls at once", ::busy)
        test("errors carry status and message", ::errors)
        test("the progress in bytes", ::progressInBytes)
        test("an exception in the progress function", ::progressThrows)
        test("from assets and content", ::assetsAndContent)
        test("memory pressure", ::memoryPressure)
        test("memory pressure on the smallest session", ::smallest)
        test("cancelled while loading", ::cancelledWhileLoading)
        test("estimates for an engine", ::estimated)
        test("open and close, again and again", ::cycles)
        val life = LifeTest(file, folder, full)
        test("answers without an end", life::endless)
        test("leaving while it answers", life::leaveWhileAnswering)
        test("leaving and coming back at once", life::thereAndBack)
        test("leaving while it loads", life::leaveWhileLoading)
        test("a full disk", life::fullDisk)
        test("a screen that is turned", life::turnedScreen)
        test("memory pressure while paused", life::memoryWhilePaused)
    }

    private fun test(name: String, body: suspend () -> Unit) {
        runBlocking { withTimeout(120_000) { body() } }
        println("ok: $name")
    }

    private suspend fun model(): Model = Model.open(file.path, ModelOptions(threads = 2))

    private suspend fun withSession(
        options: SessionOptions = greedy,
        body: suspend (Session) -> Unit,
    ) = model().use { model -> model.session(options).use { body(it) } }

    private suspend fun Session.text(message: String, most: Int = 16): String =
        chat(message, most).toList().joinToString("")

    private suspend fun activationsAreRoundedAsTheOptionsSay() {
        val options = ModelOptions(Engine.CPU, 1, activations = Activations.INT8)
        Model.open(file.path, options).use { assertTrue("int8 activations" in it.engine) }
        Model.open(file.path, ModelOptions(Engine.CPU, 1)).use { assertTrue("int8" !in it.engine) }
    }

    private suspend fun chatIsSavedAndResumed() {
        var last = 0f
        val opened =
            Model.open(file.path, ModelOptions(Engine.CPU, 2, preload = true, inMemory = true)) { done ->
                assertTrue(done >= last)
                last = done
                true
            }
        assertEquals(1f, last)
        opened.use { model ->
            assertEquals(file.length(), model.fileBytes)
            assertTrue(model.name.isNotEmpty() && "2 threads" in model.engine)
            assertTrue(Model.adapters().any { it.engine == Engine.CPU && it.memory > 0 } && Model.version.isNotEmpty())
            val saved = File(folder, "chat ü.session").path
            val session = model.session(greedy)
            val held = session.memory
            val reach = session.reach
            val sentence = Regex("4 of 50 heads see the last [0-9,]+ tokens, the others the last [0-9,]+; [0-9.]+ [KM]iB in f16")
            assertTrue(sentence.matches(reach), reach)
            // The estimate is that of a mapped file, and counts the checkpoints that a chat may keep.
            val estimate = Model.estimate(file.path, greedy, ModelOptions(threads = 2))
            assertEquals(estimate.copy(weights = 0, copied = held.copied, checkpoints = 0), held)
            assertTrue(held.copied >= estimate.weights + estimate.copied)
            assertTrue(estimate.checkpoints > 0)
            session.instruct("Answer briefly.")
            assertTrue(session.text("Hello!").isNotEmpty())
            assertEquals(listOf("system", "user", "assistant"), session.messages().map { it.first })
            session.save(saved)
            val want = session.text("And then?")
            assertTrue(session.tokensPerSecond > 0)
            assertTrue(session.undo())
            assertEquals(want, session.text("And then?"))
            session.close()
            model.load(saved, greedy).use { loaded ->
                assertEquals("Hello!", loaded.messages()[1].second)
                assertEquals(want, loaded.text("And then?"))
                assertEquals(held.state, loaded.memory.state)
                assertEquals(reach, loaded.reach)
                loaded.shrink(held.state - 1)
                assertTrue(sentence.matches(loaded.reach) && reach != loaded.reach, loaded.reach)
            }
        }
    }

    private suspend fun snapshotsAndForks() = withSession { session ->
        session.feed("Once upon a time")
        session.snapshot().use { snapshot ->
            assertTrue(snapshot.bytes > 0)
            session.fork().use { fork ->
                val want = session.generate(12).toList()
                assertEquals(want, fork.generate(12).toList())
                session.rewind(snapshot)
                assertEquals(want, session.generate(12).toList())
            }
        }
        session.reset()
        assertEquals(0, session.position)
    }

    /**
     * An emoji made of several tokens, and a model that may choose no others: it generates whole
     * emojis and torn ones. No piece ends within a character, and whole characters arrive whole.
     */
    private suspend fun emoji() = model().use { model ->
        val tokens = model.tokenize(BIRD)
        assertTrue(tokens.size > 1, "the emoji is one token")
        val bias = tokens.associateWith { 1e6f }
        val only = Sampling(temperature = 1000f, topK = 0, topP = 1f, minP = 0f, bias = bias)
        model.session(greedy.copy(sampling = only)).use { session ->
            session.feed("Once")
            var whole = 0
            repeat(8) {
                val pieces = session.generate(500).toList()
                for (piece in pieces) {
                    assertTrue(!piece.first().isLowSurrogate() && !piece.last().isHighSurrogate())
                }
                whole += pieces.count { BIRD in it }
            }
            assertTrue(whole > 0, "no emoji among so many")
        }
    }

    private suspend fun anyText() = withSession { session ->
        val message = "ü, 漢字, $BIRD, \u0000 and \uFFFD"
        session.text(message, 2)
        assertEquals(message, session.messages().first { it.first == "user" }.second)
    }

    private suspend fun collectorEndsEarly() = withSession { session ->
        session.feed("Once upon a time")
        repeat(5) { assertEquals(1, session.generate(FOREVER).take(1).toList().size) }
        // The engine is stopped: the session accepts the next call at once.
        val position = session.position
        delay(20)
        assertEquals(position, session.position)
    }

    private suspend fun cancelled() = withSession { session ->
        session.feed("Once upon a time")
        coroutineScope {
            var pieces = 0
            val job = launch(Dispatchers.Default) { endless(session) { pieces++ } }
            while (pieces < 3) delay(1)
            job.cancelAndJoin()
            val position = session.position
            delay(20)
            assertEquals(position, session.position)
        }
    }

    private suspend fun cancelledInThePrompt() = withSession { session ->
        coroutineScope {
            val long = "A long text. ".repeat(40_000)
            val job = launch(Dispatchers.Default) { whenFree { session.chat(long, 4).toList() } }
            while (!session.isBusy()) delay(1)
            delay(30)
            job.cancelAndJoin()
            assertTrue(session.messages().isEmpty(), "the message does not count")
            assertTrue(session.text("Hello!").isNotEmpty())
        }
    }

    /** Cancelled before, just as, and after the native call begins. */
    private suspend fun cancelledAtAnyMoment() = withSession { session ->
        session.feed("Once")
        coroutineScope {
            repeat(60) { round ->
                val job = launch(Dispatchers.Default) { endless(session) {} }
                if (round % 3 > 0) delay(round.toLong() % 7)
                job.cancelAndJoin()
            }
        }
        session.feed("The session is free.")
    }

    private suspend fun cancelledBetweenCalls() = withSession { session ->
        session.cancel()
        assertEquals(listOf(), session.chat("Hello!", 4).toList())
        assertEquals(Session.Finish.DROPPED, session.finish)
        session.cancel()
        session.clearCancel()
        assertTrue(session.text("Hello!").isNotEmpty())
        session.close()
        assertEquals(Status.CLOSED, assertFailsWith<AttambaException> { session.cancel() }.status)
    }

    private suspend fun described() = model().use { model ->
        assertEquals("attamba", model.metadata("general.architecture"))
        assertTrue(model.metadata("quantization").isNotEmpty())
        val missing = assertFailsWith<AttambaException> { model.metadata("no.such.kéy") }
        assertTrue("no.such.kéy" in missing.message!!, missing.message)
        assertTrue(!model.embeds && (model.hasTemplate || !model.hasTools))
        val tokens = model.tokenize("Hello, bird!")
        assertTrue("Hello, bird!" in model.detokenize(tokens))
        model.session(greedy).use { session ->
            assertEquals(0, session.logits().size)
            session.feed(tokens)
            val logits = session.logits()
            val best = logits.indices.maxBy { logits[it] }
            var chosen = -1
            session.generate(1, onToken = { chosen = it.id }).toList()
            assertEquals(best, chosen)
        }
        val vector = model.embed("A bird sang.")
        assertEquals(1f, vector.map { it * it }.sum(), 1e-3f)
        assertTrue(!vector.contentEquals(model.embed("A bird sang.", Pooling.LAST)))
    }

    private suspend fun begun() = withSession { session ->
        val messages =
            listOf("system" to "Tell of a cat.", "user" to "Hello! ü", "assistant" to "I am a cat.")
        val tokens = session.count(messages)
        session.begin(messages)
        assertEquals(messages, session.messages())
        assertEquals(tokens, session.position)
        assertTrue(session.text("And then?").isNotEmpty())
        session.beginJson("""[{"role": "user", "content": "Hello, ü!"}]""")
        assertEquals(listOf("user" to "Hello, ü!"), session.messages())
        session.setVariables("""{"tools": [{"type": "function", "function": {"name": "now"}}]}""")
        assertTrue(session.chatJson("[]", 4).toList().isNotEmpty())
        assertEquals(Session.Finish.LIMIT, session.finish)
        session.setVariables("")
        val refused = assertFailsWith<AttambaException> { session.beginJson("Hello") }
        assertEquals(Status.ARGUMENT, refused.status)
        session.begin(messages)
        session.begin(listOf("system" to "Tell of a dog.") + session.messages().drop(1))
        assertEquals(3, session.messages().size)
        assertTrue(session.text("Why?").isNotEmpty())
    }

    private suspend fun finished() = withSession { session ->
        assertEquals(null, session.finish)
        val limit = session.text("Tell me a story.")
        assertEquals(Session.Finish.LIMIT, session.finish)
        val stop = limit.substring(limit.length / 2, limit.length / 2 + 5)
        session.reset()
        session.setSampling(greedy.sampling!!.copy(stop = listOf("ünever", stop)))
        assertEquals(limit.substringBefore(stop), session.text("Tell me a story."))
        assertEquals(Session.Finish.STOP_TEXT, session.finish)
        val tokens = mutableListOf<Token>()
        session.chat("And then?", 6, top = 2) { synchronized(tokens) { tokens += it } }.toList()
        assertTrue(tokens.isNotEmpty() && tokens.all { it.top.size == 2 && it.logprob <= 0 })
        assertTrue(tokens.all { it.top[0].second >= it.top[1].second })
        session.setSampling(Sampling(seed = 7))
        assertEquals(7, session.seed)
        session.setSampling(null)
        val seed = session.seed
        session.setSampling(null)
        assertTrue(seed != session.seed)
        val refused = assertFailsWith<AttambaException> {
            session.setSampling(Sampling(stop = listOf("")))
        }
        assertEquals(Status.ARGUMENT, refused.status)
    }

    private suspend fun closedMeanwhile() {
        repeat(10) {
            val session = model().use { it.session(greedy) }
            session.feed("Once")
            coroutineScope {
                var pieces = 0
                val reader = async(Dispatchers.Default) { endless(session) { pieces++ } }
                while (pieces < 2) delay(1)
                session.close()
                assertTrue(reader.await() in listOf(null, Status.CLOSED))
            }
            assertFailsWith<AttambaException> { session.position }
        }
    }

    private suspend fun closedBySlowCollector() {
        val session = model().use { it.session(greedy) }
        session.feed("Once")
        session.generate(200).onEach { session.close() }.first()
    }

    private suspend fun paused() = withSession { session ->
        session.feed("Once")
        coroutineScope {
            var pieces = 0
            val job = launch(Dispatchers.Default) { endless(session) { pieces++ } }
            while (pieces < 1) delay(1)
            session.pause()
            delay(20)
            val still = pieces
            delay(50)
            assertEquals(still, pieces)
            session.resume()
            while (pieces == still) delay(1)
            session.pause()
            job.cancelAndJoin()
            assertEquals(Status.PAUSED, assertFailsWith<AttambaException> { session.fork() }.status)
            session.resume()
        }
    }

    private suspend fun busy() = withSession { session ->
        session.feed("Once")
        coroutineScope {
            val job = launch(Dispatchers.Default) { endless(session) {} }
            // Between two of the other's answers the session is free and this call is served.
            var refused: AttambaException? = null
            while (refused == null) {
                refused = try {
                    session.generate(1).toList()
                    null
                } catch (e: AttambaException) {
                    e
                }
            }
            assertEquals(Status.BUSY, refused.status)
            job.cancelAndJoin()
        }
        assertTrue(session.generate(1).toList().size <= 1)
    }

    private suspend fun errors() {
        val failure = assertFailsWith<AttambaException> { Model.open("/no/such/ü") }
        assertEquals(Status.IO, failure.status)
        assertTrue("/no/such/ü" in failure.message!!, failure.message)
        val nowhere = ModelOptions(Engine.GPU, adapter = "no GPU is called so")
        assertEquals(
            Status.DEVICE,
            assertFailsWith<AttambaException> { Model.open(file.path, nowhere) }.status,
        )
        val model = model()
        val tight = SessionOptions(Budget.Bytes(1))
        assertEquals(Status.BUDGET, assertFailsWith<AttambaException> { model.session(tight) }.status)
        val senseless = SessionOptions(sampling = Sampling(topP = 7f))
        assertEquals(
            Status.ARGUMENT,
            assertFailsWith<AttambaException> { model.session(senseless) }.status,
        )
        val session = model.session()
        assertEquals(
            Status.STATE,
            assertFailsWith<AttambaException> { session.generate(1).toList() }.status,
        )
        session.close()
        session.close()
        assertEquals(Status.CLOSED, assertFailsWith<AttambaException> { session.text("x") }.status)
        model.close()
        model.close()
        assertEquals(Status.CLOSED, assertFailsWith<AttambaException> { model.name }.status)
    }

    private suspend fun progressInBytes() {
        val read = mutableListOf<Long>()
        val progress =
            object : Progress {
                override fun onProgress(done: Float) = true

                override fun onBytes(part: LoadingPart, done: Long, all: Long): Boolean {
                    assertEquals(LoadingPart.READ to file.length(), part to all)
                    read += done
                    return true
                }
            }
        for (options in listOf(ModelOptions(preload = true), ModelOptions(inMemory = true))) {
            read.clear()
            Model.open(file.path, options, progress).close()
            assertEquals(file.length(), read.last())
            assertEquals(read.sorted(), read)
        }
        val never =
            object : Progress by Progress({ true }) {
                override fun onBytes(part: LoadingPart, done: Long, all: Long) = false
            }
        val refused =
            assertFailsWith<AttambaException> {
                Model.open(file.path, ModelOptions(preload = true), never)
            }
        assertEquals(Status.CANCELLED, refused.status)
    }

    private suspend fun progressThrows() {
        val thrown =
            assertFailsWith<IllegalStateException> { Model.open(file.path) { error("my own") } }
        assertEquals("my own", thrown.message)
        val refused = assertFailsWith<AttambaException> { Model.open(file.path) { it < 0.5f } }
        assertEquals(Status.CANCELLED, refused.status)
    }

    /** The model in the middle of a file, as an asset is in an APK; and as a whole file. */
    private suspend fun assetsAndContent() {
        val apk = File(folder, "app.apk")
        apk.outputStream().use { out ->
            out.write(ByteArray(4321))
            file.inputStream().use { it.copyTo(out) }
            out.write(ByteArray(99))
        }
        val context = TestContext(apk, 4321, file)
        val want = model().use { m -> m.session(greedy).use { it.text("Hello!") } }
        for (open in
            listOf<suspend () -> Model>(
                { Model.openAsset(context, "model.gguf") },
                { Model.openUri(context, Uri("content://documents/1")) },
            )) {
            open().use { m -> assertEquals(want, m.session(greedy).use { it.text("Hello!") }) }
        }
        assertEquals(0, context.openFiles)
        assertFailsWith<FileNotFoundException> { Model.openUri(context, Uri("content://nothing")) }
    }

    private suspend fun memoryPressure() = withSession(large) { session ->
        val context = TestContext(file, 0, file)
        session.text("Hello!")
        val before = session.memory.state
        val pressure = MemoryPressure.watch(context, session, least = 1)
        val callbacks = context.callbacks.single() as ComponentCallbacks2
        callbacks.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_UI_HIDDEN)
        assertEquals(before, session.memory.state)
        callbacks.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW)
        val half = session.memory.state
        assertTrue(half <= before / 2, "$before became $half")
        // In the background, where the app is paused; asked again it evicts no more.
        session.pause()
        repeat(2) {
            callbacks.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_BACKGROUND)
            assertTrue(session.memory.state in before / 5..before / 4)
        }
        session.resume()
        assertTrue(session.text("And then?").isNotEmpty())
        pressure.close()
        assertTrue(context.callbacks.isEmpty())
        session.close()
        pressure.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_BACKGROUND)
    }

    /** A session that can't become smaller stays as it is. */
    private suspend fun smallest() =
        withSession(greedy.copy(budget = Budget.States(2))) { session ->
            val before = session.memory.state
            val pressure = MemoryPressure.watch(TestContext(file, 0, file), session, least = 1)
            pressure.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_BACKGROUND)
            assertEquals(before, session.memory.state)
        }

    /** Cancelled while loading, also by the coroutine that waits for the model. */
    private suspend fun cancelledWhileLoading() = coroutineScope {
        for (at in listOf(0f, 0.5f, 1f)) {
            var job: Job? = null
            var calls = 0
            job = launch(Dispatchers.Default, CoroutineStart.LAZY) {
                Model.open(file.path, ModelOptions(preload = true)) { done ->
                    if (done >= at) {
                        calls++
                        job!!.cancel()
                    }
                    true
                }
            }
            job.join()
            assertTrue(job.isCancelled && calls == 1)
        }
    }

    private fun estimated() {
        val cpu = Model.estimate(file.path, greedy, ModelOptions(Engine.CPU))
        assertEquals(cpu, Model.estimate(file.path, greedy))
        assertEquals(0, cpu.device)
        val gpu = Model.estimate(file.path, greedy, ModelOptions(Engine.GPU))
        assertTrue(gpu.device > 0)
        FileInputStream(file).use { stream ->
            val fd = number(stream.fd)
            assertEquals(gpu, Model.estimate(fd, 0, 0, greedy, ModelOptions(Engine.GPU)))
        }
    }

    private suspend fun cycles() {
        repeat(50) { withSession { session -> session.text("Hi", 1) } }
    }

    /** Endless text: continues past end-of-text tokens. Returns the status that ended it. */
    private suspend fun endless(session: Session, each: (String) -> Unit): Status? {
        while (true) {
            try {
                whenFree { session.generate(FOREVER).collect { each(it) } }
            } catch (e: CancellationException) {
                throw e
            } catch (e: AttambaException) {
                return e.status
            }
        }
    }

    /** Asking [isBusy] keeps a session busy for a moment; this call waits for its end. */
    private suspend fun <T> whenFree(call: suspend () -> T): T {
        while (true) {
            try {
                return call()
            } catch (e: AttambaException) {
                if (e.status != Status.BUSY) throw e
            }
        }
    }

    private fun Session.isBusy(): Boolean =
        try {
            undo()
            false
        } catch (e: AttambaException) {
            e.status == Status.BUSY
        }
}

private fun number(descriptor: FileDescriptor): Int =
    FileDescriptor::class.java.getDeclaredField("fd").run {
        isAccessible = true
        getInt(descriptor)
    }

/** A context with only one asset and one document. */
internal class TestContext(apk: File, offset: Long, document: File) : Context() {
    val callbacks = mutableListOf<ComponentCallbacks>()
    var openFiles = 0

    override val applicationContext: Context = this

    override val assets =
        object : AssetManager() {
            override fun openFd(fileName: String) =
                AssetFileDescriptor(descriptor(apk), offset, document.length())
        }

    override val contentResolver =
        object : ContentResolver() {
            override fun openFileDescriptor(uri: Uri, mode: String) =
                if ("nothing" in uri.toString()) null else descriptor(document)
        }

    override fun registerComponentCallbacks(callback: ComponentCallbacks) {
        callbacks += callback
    }

    override fun unregisterComponentCallbacks(callback: ComponentCallbacks) {
        callbacks -= callback
    }

    private fun descriptor(file: File): ParcelFileDescriptor {
        val stream = FileInputStream(file)
        openFiles++
        return ParcelFileDescriptor(number(stream.fd)) {
            openFiles--
            stream.close()
        }
    }
}

fun main(arguments: Array<String>) {
    val (model, folder, full) = arguments.map(::File)
    HostTest(model, folder, full).run()
}
