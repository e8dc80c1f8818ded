package org.attamba

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.isActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * The text of a native call as a flow.
 *
 * The buffer is unbounded, so that the callback never waits for the collector: a collector that
 * closes the session waits for the callback. It holds no more text than the call's limit.
 */
internal fun textFlow(handle: Handle, call: (TextSink) -> Unit): Flow<String> =
    channelFlow {
            val text = this
            working(handle) { call { utf8 -> text.trySend(utf8.utf8()).isSuccess } }
        }
        .buffer(Channel.UNLIMITED)

/** Runs a native call off the caller's thread; it is cancelled with the caller. */
internal suspend fun <T> working(handle: Handle, call: () -> T): T = coroutineScope {
    val work = Work(handle)
    val watcher = cancelWithScope(work)
    try {
        withContext(Dispatchers.IO) {
            work.begin()
            try {
                call()
            } finally {
                work.end()
            }
        }
    } catch (e: AttambaException) {
        // A call that was cancelled with its coroutine ends the way coroutines do.
        ensureActive()
        throw e
    } finally {
        watcher.cancel()
    }
}

/**
 * Opens something off the caller's thread. Loading ends with the coroutine, which closes what was opened
 * if it is cancelled just then.
 */
internal suspend fun <T : AutoCloseable> opening(
    progress: Progress? = null,
    open: (LoadingSink) -> T,
): T {
    var opened: T? = null
    try {
        return withContext(Dispatchers.IO) {
            open(Listener(this, progress)).also { opened = it }
        }
    } catch (e: CancellationException) {
        opened?.close()
        throw e
    } catch (e: AttambaException) {
        // A call that was cancelled with its coroutine ends the way coroutines do.
        currentCoroutineContext().ensureActive()
        throw e
    }
}

/** Hands on the progress of loading until the scope ends. */
private class Listener(private val scope: CoroutineScope, private val progress: Progress?) :
    LoadingSink {
    override fun onProgress(done: Float): Boolean =
        scope.isActive && (progress?.onProgress(done) ?: true)

    override fun onBytes(part: Int, done: Long, all: Long): Boolean {
        val known = LoadingPart.entries.find { it.code == part }
        if (progress == null || known == null) return scope.isActive
        return scope.isActive && progress.onBytes(known, done, all)
    }
}

private fun CoroutineScope.cancelWithScope(work: Work): Job =
    launch(Dispatchers.Default, CoroutineStart.UNDISPATCHED) {
        try {
            awaitCancellation()
        } finally {
            work.cancel()
        }
    }

/** A native call, from before it begins. */
private class Work(private val handle: Handle) {
    private var running = false
    private var cancelled = false

    /** From here on the session's next call is this one. Throws if it has been cancelled. */
    @Synchronized
    fun begin() {
        if (cancelled) {
            throw CancellationException("cancelled before the call began")
        }
        running = true
    }

    @Synchronized
    fun cancel() {
        cancelled = true
        if (running) {
            unlessClosed { Native.sessionCancel(handle.get()) }
        }
    }

    /** From here on it is not cancelled, and no cancel is left for the session's next call. */
    @Synchronized
    fun end() {
        if (cancelled) {
            unlessClosed { Native.sessionClearCancel(handle.get()) }
        }
        running = false
    }

    /** A session that has been closed meanwhile has cancelled its calls. */
    private fun unlessClosed(call: () -> Unit) {
        try {
            call()
        } catch (e: AttambaException) {
            if (e.status != AttambaException.Status.CLOSED) throw e
        }
    }
}
