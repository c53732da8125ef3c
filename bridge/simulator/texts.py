"""The words of the simulator. Their sound is in `speech/`, made by `speech/render.py`."""

LINES = {
    "greeting": "Hello, this is the roompool voice simulator. How can I help?",
    "you_said": "You said:",
    "heard": "The simulator heard:",
    "reached": "This is what reached me:",
    "here": "The simulator is here. Please say something.",
    "go_on": "I am listening. Please go on.",
    "back": "Sorry, I was gone for a moment. The simulator is back.",
    "goodbye": "That was all from the simulator. Goodbye.",
    "long": (
        "This is a long answer from the roompool voice simulator. It goes on for quite some time, so that you can "
        "interrupt it. Just start talking, and it will fall silent. If you do not, it will finish this sentence "
        "all the same, and then it will listen to you again."
    ),
}
"""Name and text of each line. A change here needs a run of `speech/render.py`."""

INTRODUCTIONS = ("you_said", "heard", "reached")
"""Said before the caller's own voice, in turn, so that replies in a row differ."""

IDLE_LINES = ("here", "go_on")
"""Said on `reply.create`, in turn."""

MARK = "[simulator]"
"""Every transcript begins with it: nobody shall take these words for a recogniser's or a model's."""
