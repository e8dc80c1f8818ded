package org.attamba.sample

import android.app.Activity
import android.os.Bundle
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.attamba.AttambaException
import org.attamba.Budget
import org.attamba.Model
import org.attamba.Session
import org.attamba.SessionOptions
import org.attamba.android.MemoryPressure
import org.attamba.android.openAsset

/**
 * A chat with the model in the assets. The chat is saved when the user leaves the app and resumed at the
 * next start; while the app is in the background nothing is computed.
 */
class MainActivity : Activity() {
    private val scope: CoroutineScope = MainScope()
    private lateinit var log: TextView
    private lateinit var input: EditText
    private lateinit var button: Button

    private var session: Session? = null
    private var pressure: MemoryPressure? = null
    private var answer: Job? = null

    private val saved
        get() = File(filesDir, "chat.session")

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(view())
        scope.launch {
            try {
                val opened = withContext(Dispatchers.IO) { open() }
                session = opened
                pressure = MemoryPressure.watch(this@MainActivity, opened)
                opened.messages().forEach { (role, text) -> log.append("$role: $text\n\n") }
                button.isEnabled = true
            } catch (e: AttambaException) {
                log.append("${e.message}\n")
            }
        }
    }

    private fun open(): Session =
        Model.openAsset(this, "model.gguf").use { model ->
            try {
                model.load(saved.path)
            } catch (_: AttambaException) {
                // There is no saved chat yet, or it belongs to another model.
                model.session(SessionOptions(Budget.Bytes(8L shl 20)))
            }
        }

    private fun send() {
        val session = session ?: return
        answer?.let {
            it.cancel()
            return
        }
        val message = input.text.toString().ifBlank { return }
        input.text.clear()
        log.append("user: $message\n\nassistant: ")
        button.setText(R.string.stop)
        answer =
            scope.launch {
                try {
                    session.chat(message).collect(log::append)
                } catch (e: AttambaException) {
                    log.append(e.message)
                } finally {
                    log.append("\n\n")
                    button.setText(R.string.send)
                    answer = null
                }
            }
    }

    override fun onStart() {
        super.onStart()
        session?.resume()
    }

    override fun onStop() {
        super.onStop()
        val session = session ?: return
        if (answer == null) {
            // Takes a few milliseconds; once paused, the state can't be copied.
            kotlinx.coroutines.runBlocking { session.save(saved.path) }
        }
        session.pause()
    }

    override fun onDestroy() {
        scope.cancel()
        pressure?.close()
        session?.close()
        super.onDestroy()
    }

    private fun view(): LinearLayout {
        log = TextView(this).apply { setTextIsSelectable(true) }
        input = EditText(this).apply { setHint(R.string.hint) }
        button =
            Button(this).apply {
                setText(R.string.send)
                isEnabled = false
                setOnClickListener { send() }
            }
        val row =
            LinearLayout(this).apply {
                addView(input, LinearLayout.LayoutParams(0, WRAP_CONTENT, 1f))
                addView(button)
            }
        return LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            fitsSystemWindows = true
            setPadding(24, 24, 24, 24)
            addView(
                ScrollView(this@MainActivity).apply { addView(log) },
                LinearLayout.LayoutParams(MATCH_PARENT, 0, 1f),
            )
            addView(row)
        }
    }
}
