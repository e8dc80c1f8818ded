// The sample's chat through an app's life: leaving while it answers, coming back, a full disk, a screen
// that is turned, memory that the system asks for.

import android.content.ComponentCallbacks2
import java.io.File
import java.util.concurrent.Executors
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.attamba.AttambaException
import org.attamba.Budget
import org.attamba.Model
import org.attamba.ModelOptions
import org.attamba.Sampling
import org.attamba.Session
import org.attamba.SessionOptions
import org.attamba.android.MemoryPressure
import org.attamba.sample.Chat

/** [full] is a folder on a disk that has no room. */
internal class LifeTest(private val file: File, private val folder: File, private val full: File) {
    private val main =
        Executors.newSingleThreadExecutor { Thread(it, "main").apply { isDaemon = true } }
            .asCoroutineDispatcher()
    private val context = TestContext(file, 0, file)
    private var options = SessionOptions(Budget.States(256))
    private var loads = 0
    private var session: Session? = null

    private fun chat(saved: File = File(folder, "life.session")): Chat =
        Chat(
            main,
            saved,
            options,
            { progress ->
                loads++
                Model.open(file.path, ModelOptions(threads = 2, preload = true), progress)
            },
            {
                session = it
                MemoryPressure.watch(context, it, least = 1)
            },
        )

    private suspend fun <T> on(call: () -> T): T = withContext(main) { call() }

    private suspend fun Chat.until(condition: (Chat.State) -> Boolean): Chat.State =
        state.first { condition(it) }

    private suspend fun Chat.opened() = until { it.loading == null }

    private suspend fun Chat.answerBegins(message: String) {
        on { send(message) }
        until { it.messages.last().second.length > 20 }
    }

    private fun paused(): Boolean =
        try {
            session!!.snapshot().close()
            false
        } catch (e: AttambaException) {
            e.status == AttambaException.Status.PAUSED
        }

    // Waits instead of asking again and again: a question is a call too, and the chat's own would fail.
    private suspend fun Chat.left() {
        on { leave() }.join()
        assertTrue(paused())
    }

    private suspend fun Chat.closed(others: Int = 0) {
        on { close() }.join()
        assertEquals(others, context.callbacks.size)
    }

    suspend fun leaveWhileAnswering() {
        val saved = File(folder, "left.session")
        val first = chat(saved)
        first.opened()
        first.answerBegins("Tell me a story.")
        first.left()
        val partial = first.state.value
        assertFalse(partial.answering)
        assertEquals(listOf("user", "assistant"), partial.messages.map { it.first })
        // The system ends the process here. The next one finds the chat, with what was answered.
        val second = chat(saved)
        assertEquals(partial.messages, second.opened().messages)
        second.closed(others = 1)
        // Or it does not, and the user comes back.
        on { first.come() }
        first.answerBegins("And then?")
        on { first.stop() }
        assertEquals(4, first.until { !it.answering }.messages.size)
        first.closed()
    }

    /** Leaving and coming back in quick succession: the last one counts. */
    suspend fun thereAndBack() {
        val chat = chat()
        chat.opened()
        repeat(30) { round ->
            when (round % 3) {
                0 -> {
                    on {
                        chat.leave()
                        chat.come()
                    }
                    chat.answerBegins("Hello!")
                }
                1 -> {
                    chat.left()
                    on { chat.come() }
                }
                // While the chat is being saved.
                else -> {
                    on { chat.leave() }
                    on {
                        chat.come()
                        chat.send("And then?")
                        if (round % 2 == 0) chat.stop()
                    }
                    assertEquals(null, chat.until { !it.answering || round % 2 == 1 }.failure)
                }
            }
        }
        chat.closed()
    }

    /** Whoever leaves while the model loads has a paused chat then. */
    suspend fun leaveWhileLoading() {
        val chat = chat()
        on { chat.leave() }
        chat.opened()
        chat.left()
        on { chat.come() }
        chat.answerBegins("Hello!")
        chat.closed()
        // And one that is closed while it loads leaves nothing behind.
        val never = chat()
        never.closed()
    }

    suspend fun fullDisk() {
        val saved = File(full, "chat.session")
        val chat = chat(saved)
        chat.opened()
        chat.answerBegins("Tell me a story.")
        chat.left()
        val failure = chat.state.value.failure
        assertTrue(failure != null && saved.path in failure, failure)
        assertTrue(full.list()!!.isEmpty(), "what could not be written is removed")
        on { chat.come() }
        chat.answerBegins("And then?")
        chat.closed()
    }

    /** A screen that is turned goes away and comes back; the chat does not notice. */
    suspend fun turnedScreen() = coroutineScope {
        loads = 0
        val chat = chat()
        suspend fun turn() {
            val screen = launch(Dispatchers.Default) { chat.state.collect {} }
            screen.cancelAndJoin()
        }
        while (chat.state.value.loading != null) turn()
        on { chat.send("Tell me a story.") }
        while (chat.state.value.messages.last().second.length < 50) turn()
        assertTrue(chat.state.value.answering)
        assertEquals(1, loads)
        chat.closed()
    }

    /** Android 14 and later ask only for memory of the background: after the pause. */
    suspend fun memoryWhilePaused() {
        val chat = chat(File(folder, "memory.session"))
        chat.opened()
        chat.answerBegins("Tell me a story.")
        chat.left()
        val before = session!!.memory.state
        val callbacks = context.callbacks.single() as ComponentCallbacks2
        on { callbacks.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_BACKGROUND) }
        assertTrue(session!!.memory.state <= before / 4)
        on { chat.come() }
        chat.answerBegins("And then?")
        chat.closed()
    }

    /** Lets no answer end by itself, so that the user leaves in the middle of one. */
    suspend fun endless() {
        Model.open(file.path).use { model ->
            val ends = listOf("<|im_end|>", "<|endoftext|>").flatMap { name ->
                model.tokenize(name, special = true).toList()
            }
            val never = ends.associateWith { Float.NEGATIVE_INFINITY }
            options = options.copy(sampling = Sampling(temperature = 0f, bias = never))
        }
    }
}
