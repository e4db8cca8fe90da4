"""`@bireme.batch`: concurrent calls gathered into one call with lists. It knows no links; what is gathered are awaited calls."""

import asyncio
import functools
import inspect


class Batched:
    """A function that is called with lists, as a coroutine function that is called with one of each."""

    def __init__(self, function, max_size, max_wait_s):
        functools.update_wrapper(self, function)
        # The annotations are those of the lists, not of what callers pass.
        self.__annotations__ = {}
        self._function = function
        self._max_size = max_size
        self._max_wait_s = max_wait_s
        # By loop: what waits on one that has been closed must not keep the calls of the next from starting.
        self._gatherings = {}

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        # Calls of the same instance are gathered, those of two are not.
        name = f"_bireme_batched_{self.__name__}"
        bound = instance.__dict__.get(name)
        if bound is None:
            bound = Batched(self._function.__get__(instance, owner), self._max_size, self._max_wait_s)
            instance.__dict__[name] = bound
        return bound

    async def __call__(self, *args, **kwargs):
        loop = asyncio.get_running_loop()
        gathering = self._gatherings.get(loop)
        if gathering is None:
            for old in [old for old in self._gatherings if old.is_closed()]:
                del self._gatherings[old]
            gathering = self._gatherings[loop] = _Gathering()
        answer = loop.create_future()
        gathering.waiting.append((args, kwargs, answer))
        if len(gathering.waiting) >= self._max_size:
            self._start(loop, gathering)
        elif gathering.timer is None:
            gathering.timer = loop.call_later(self._max_wait_s, self._start, loop, gathering)
        return await answer

    def _start(self, loop, gathering):
        if gathering.timer is not None:
            gathering.timer.cancel()
            gathering.timer = None
        waiting, gathering.waiting = gathering.waiting, []
        # Who has been cancelled meanwhile is not calculated for.
        waiting = [entry for entry in waiting if not entry[2].done()]
        # A group is what can be one call: as many arguments, by the same names.
        groups = {}
        for args, kwargs, answer in waiting:
            groups.setdefault((len(args), *sorted(kwargs)), []).append((args, kwargs, answer))
        for group in groups.values():
            task = loop.create_task(self._run(group), name=f"bireme-batch-{self.__name__}")
            _RUNNING.add(task)
            task.add_done_callback(_RUNNING.discard)

    async def _run(self, group):
        args = [list(column) for column in zip(*(args for args, _, _ in group))]
        kwargs = {name: [kwargs[name] for _, kwargs, _ in group] for name in group[0][1]}
        answers = [answer for _, _, answer in group]
        try:
            if inspect.iscoroutinefunction(self._function):
                results = await self._function(*args, **kwargs)
            else:
                from .calls import run_in_pool

                results = await run_in_pool(functools.partial(self._function, *args, **kwargs))
            results = list(results)
            if len(results) != len(group):
                raise ValueError(f"{self.__name__} was called for {len(group)} and returned {len(results)} results")
        except BaseException as error:
            results = [error] * len(group)
            if isinstance(error, asyncio.CancelledError):
                for answer in answers:
                    answer.cancel()
                raise
        for answer, result in zip(answers, results):
            if answer.done():
                continue
            if isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set_result(result)


class _Gathering:
    """The calls that wait on one loop."""

    __slots__ = ("timer", "waiting")

    def __init__(self):
        self.waiting = []
        self.timer = None


# asyncio itself holds tasks only weakly.
_RUNNING = set()
