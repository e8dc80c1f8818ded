package org.attamba

import java.util.concurrent.atomic.AtomicLong

/**
 * The library's handle for an object. The library refuses closed handles, so a
 * call that races with [close] harmlessly gets [AttambaException.Status.CLOSED].
 */
internal class Handle(number: Long, private val release: (Long) -> Unit) : AutoCloseable {
    private val number = AtomicLong(number)

    /** The handle value; after closing, 0, which the library refuses. */
    fun get(): Long = number.get()

    /** Closes the object. Calling it again has no effect. */
    override fun close() {
        val open = number.getAndSet(0)
        if (open != 0L) {
            release(open)
        }
    }
}
