package org.attamba

import java.util.concurrent.atomic.AtomicBoolean
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** Milliseconds between attempts to cancel a call that may only just be starting. */
private const val LOOK = 2L

/**
 * The text of a native call as a flow.
 *
 * The buffer is unbounded, so that the callback never waits for the collector: a collector that
 * closes the session waits for the callback. It holds no more text than the call's limit.
 */
internal fun textFlow(handle: Handle, call: (TextSink) -> Int): Flow<String> =
    channelFlow {
            val text = this
            working(handle) { call { utf8 -> text.trySend(utf8.utf8()).isSuccess } }
        }
        .buffer(Channel.UNLIMITED)

/** Runs a native call off the caller's thread; it is cancelled with the caller. */
internal suspend fun <T> working(handle: Handle, call: () -> T): T = coroutineScope {
    val ended = AtomicBoolean(false)
    val watcher = cancelWith(handle, ended)
    try {
        withContext(Dispatchers.IO) {
            try {
                ensureActive()
                call()
            } finally {
                ended.set(true)
            }
        }
    } catch (e: AttambaException) {
        // A call that was cancelled with its coroutine ends the way coroutines do.
        ensureActive()
        throw e
    } finally {
        ended.set(true)
        watcher.cancel()
    }
}

/** Cancels the native call when the scope is cancelled, repeatedly until the call has ended. */
private fun CoroutineScope.cancelWith(handle: Handle, ended: AtomicBoolean): Job =
    launch(Dispatchers.Default, CoroutineStart.UNDISPATCHED) {
        try {
            awaitCancellation()
        } finally {
            withContext(NonCancellable) {
                while (!ended.get()) {
                    try {
                        Native.sessionCancel(handle.get())
                    } catch (_: AttambaException) {
                        // The session has been closed, which also cancels.
                        return@withContext
                    }
                    delay(LOOK)
                }
            }
        }
    }
