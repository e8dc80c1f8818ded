package org.attamba.android

import android.content.ComponentCallbacks2
import android.content.Context
import android.content.res.Configuration
import org.attamba.AttambaException
import org.attamba.Session

/**
 * Shrinks a session when the system asks for memory, before it kills the app.
 *
 * ```
 * val pressure = MemoryPressure.watch(context, session)
 * // with the session:
 * pressure.close()
 * ```
 *
 * In the background, and when memory is critical, the session keeps a quarter of the state that it was
 * opened with, otherwise half; never less than [least] bytes. Evicted context does not come back. From
 * Android 14 on the system asks only in the background, where the session may be paused.
 */
public class MemoryPressure
private constructor(
    private val context: Context,
    private val session: Session,
    private val least: Long,
) : ComponentCallbacks2, AutoCloseable {
    private val opened = session.memory.state

    override fun onTrimMemory(level: Int) {
        val part =
            when {
                level >= ComponentCallbacks2.TRIM_MEMORY_BACKGROUND -> 4
                level == ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL -> 4
                level == ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW -> 2
                else -> return
            }
        shrink(part)
    }

    @Deprecated("The system's own method for devices before Android 4")
    override fun onLowMemory(): Unit = shrink(4)

    override fun onConfigurationChanged(newConfig: Configuration): Unit = Unit

    private fun shrink(part: Int) {
        try {
            session.shrink(maxOf(opened / part, least))
        } catch (e: AttambaException) {
            when (e.status) {
                // The smallest session is larger, or the session is already closed.
                AttambaException.Status.BUDGET,
                AttambaException.Status.CLOSED -> Unit
                else -> throw e
            }
        }
    }

    override fun close(): Unit = context.unregisterComponentCallbacks(this)

    public companion object {
        /** Watches until it is closed. */
        public fun watch(context: Context, session: Session, least: Long = 1L shl 20): MemoryPressure {
            val app = context.applicationContext
            return MemoryPressure(app, session, least).also(app::registerComponentCallbacks)
        }
    }
}
