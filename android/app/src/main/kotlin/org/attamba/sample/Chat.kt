package org.attamba.sample

import java.io.File
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.attamba.AttambaException
import org.attamba.AttambaException.Status
import org.attamba.Model
import org.attamba.Progress
import org.attamba.Session
import org.attamba.SessionOptions

/**
 * A chat through an app's life. It loads once, however often its screen is created; when the user leaves,
 * the answer in progress ends where it is, the chat is saved, and nothing is computed until the user
 * comes back.
 *
 * All functions are for the thread of [main]; none of them waits.
 */
class Chat(
    main: CoroutineDispatcher,
    private val saved: File,
    private val options: SessionOptions,
    private val model: suspend (Progress) -> Model,
    /** What is to be closed with the session, such as a watch for memory pressure. */
    private val watch: (Session) -> AutoCloseable,
) {
    /** What the screen shows. */
    data class State(
        /** How much of the model is loaded, 0 to 1; null once the chat is open. */
        val loading: Float? = 0f,
        /** Roles and texts. */
        val messages: List<Pair<String, String>> = emptyList(),
        val answering: Boolean = false,
        /** The last failure. */
        val failure: String? = null,
    )

    // Its own, since a chat must still be saved when its screen is gone for good.
    private val scope = CoroutineScope(SupervisorJob() + main)
    private val mutable = MutableStateFlow(State())
    private val turns = Mutex()
    // Whoever comes back may ask while the chat is still being saved.
    private val calls = Mutex()
    private var session: Session? = null
    private var watching: AutoCloseable? = null
    private var answer: Job? = null
    private var present = true

    val state: StateFlow<State> = mutable.asStateFlow()

    private val opening = scope.launch {
        attempt {
            val opened = open()
            session = opened
            watching = watch(opened)
            mutable.update { it.copy(loading = null, messages = opened.messages()) }
        }
        // The user may have left meanwhile.
        settle()
    }

    private suspend fun open(): Session =
        model { done ->
                mutable.update { it.copy(loading = done) }
                true
            }
            .use { model ->
                try {
                    model.load(saved.path, options)
                } catch (e: AttambaException) {
                    // There is no saved chat yet, or it can't be resumed by this model.
                    if (e.status != Status.IO && e.status != Status.SAVED) throw e
                    model.session(options)
                }
            }

    fun send(message: String) {
        val session = session ?: return
        if (answer?.isActive == true) return
        mutable.update {
            it.copy(
                messages = it.messages + ("user" to message) + ("assistant" to ""),
                answering = true,
                failure = null,
            )
        }
        // Begun at once: a job that is cancelled before it begins would leave the message unanswered.
        answer = scope.launch(start = CoroutineStart.UNDISPATCHED) {
            try {
                calls.withLock { attempt { session.chat(message).collect(::append) } }
            } finally {
                // A message that got no answer is not part of the chat.
                val messages = withContext(NonCancellable) { calls.withLock { session.messages() } }
                mutable.update { it.copy(messages = messages, answering = false) }
            }
        }
    }

    private fun append(piece: String) = mutable.update {
        val (role, text) = it.messages.last()
        it.copy(messages = it.messages.dropLast(1) + (role to text + piece))
    }

    /** Ends the answer where it is. */
    fun stop() {
        answer?.cancel()
    }

    /**
     * The user leaves: for `onStop`, unless the screen is only turned. The job is for those who want to
     * know when the chat is saved.
     */
    fun leave(): Job {
        present = false
        return scope.launch { settle() }
    }

    /** The user comes back: for `onStart`. */
    fun come() {
        present = true
        scope.launch { settle() }
    }

    /** One at a time, and what counts is where the user is in the end. */
    private suspend fun settle() = turns.withLock {
        val session = session ?: return@withLock
        if (present) {
            session.resume()
        } else {
            // A paused answer could not be saved; and whoever comes back may want to ask otherwise.
            answer?.cancelAndJoin()
            attempt { calls.withLock { session.save(saved.path) } }
            if (!present) session.pause()
        }
    }

    /**
     * Nobody will use the chat any more: for `onCleared`. It is saved first if the user has left. The job
     * is for those who want to know when the memory is free.
     */
    fun close(): Job {
        opening.cancel()
        return scope.launch {
            opening.join()
            answer?.cancelAndJoin()
            turns.withLock {
                watching?.close()
                session?.close()
                session = null
            }
            scope.cancel()
        }
    }

    /** Shows a failure instead of throwing it: a full disk, for instance, ends no chat. */
    private inline fun attempt(action: () -> Unit) {
        try {
            action()
        } catch (e: AttambaException) {
            mutable.update { it.copy(failure = e.message) }
        }
    }
}
