"""Certified regressions. Source of data and certified values: National Institute of Standards and Technology,
Statistical Reference Datasets (StRD), linear regression: Norris, Pontius, NoInt1, NoInt2, Filip, Longley,
Wampler1 to Wampler5.

The operators fit one regressor and a constant. A set with several is brought to that by the theorem of
Frisch, Waugh and Lovell: what the other regressors leave of y, regressed on what they leave of x_k, has the
slope B_k; leaving is done in exact fractions. A regression without a constant is that of the rows and their
mirror images, whose means are 0.

What can be reached: 1e-9 of a coefficient, or of its standard error where that is larger (Wampler4 and 5
drown coefficients of 1 in noise of up to 2e7). That includes Filip, a polynomial of degree 10, because its
ill-conditioning stays in the fractions.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from operators.columns import Floats
from operators.hedge_ratio import rolling_ols
from operators.huber import rolling_huber
from operators.kalman import HedgeKalman
from operators.theil_sen import rolling_theil_sen
from operators.total_least_squares import rolling_tls

Exact = list[Fraction]


def numbers(text: str) -> Exact:
    return [Fraction(word) for word in text.split()]


@dataclass(frozen=True)
class Certified:
    y: Exact
    regressors: list[Exact]
    coefficients: list[float]
    errors: list[float]  # standard deviations of the estimates
    residual_sd: float
    r2: float
    constant: bool = True

    @property
    def columns(self) -> list[Exact]:
        return [[Fraction(1)] * len(self.y)] * self.constant + self.regressors


def powers(x: Exact, degree: int) -> list[Exact]:
    return [[value**k for value in x] for k in range(1, degree + 1)]


NORRIS = Certified(
    y=numbers("""
        0.1 338.8 118.1 888.0 9.2 228.1 668.5 998.5 449.1 778.9 559.2 0.3 0.1 778.1 668.8 339.3 448.9 10.8 557.7 228.3 998.0 888.8 119.6 0.3
        0.6 557.6 339.3 888.0 998.5 778.9 10.2 117.6 228.9 668.4 449.2 0.2"""),
    regressors=[numbers("""
        0.2 337.4 118.2 884.6 10.1 226.5 666.3 996.3 448.6 777.0 558.2 0.4 0.6 775.5 666.9 338.0 447.5 11.6 556.0 228.1 995.8 887.6 120.2 0.3
        0.3 556.8 339.1 887.2 999.0 779.0 11.1 118.3 229.2 669.1 448.9 0.5""")],
    coefficients=[-0.262323073774029, 1.00211681802045],
    errors=[0.232818234301152, 0.429796848199937e-03],
    residual_sd=0.884796396144373,
    r2=0.999993745883712,
)  # fmt: skip

PONTIUS = Certified(
    y=numbers("""
        .11019 .21956 .32949 .43899 .54803 .65694 .76562 .87487 .98292 1.09146 1.20001 1.30822 1.41599 1.52399 1.63194 1.73947 1.84646 1.95392
        2.06128 2.16844 .11052 .22018 .32939 .43886 .54798 .65739 .76596 .87474 .98300 1.09150 1.20004 1.30818 1.41613 1.52408 1.63159 1.73965
        1.84696 1.95445 2.06177 2.16829"""),
    regressors=powers([Fraction(150_000 * k) for k in range(1, 21)] * 2, 2),
    coefficients=[0.673565789473684e-03, 0.732059160401003e-06, -0.316081871345029e-14],
    errors=[0.107938612033077e-03, 0.157817399981659e-09, 0.486652849992036e-16],
    residual_sd=0.205177424076185e-03,
    r2=0.999999900178537,
)  # fmt: skip

NO_INT_1 = Certified(
    y=[Fraction(value) for value in range(130, 141)],
    regressors=[[Fraction(value) for value in range(60, 71)]],
    coefficients=[2.07438016528926],
    errors=[0.165289256198347e-01],
    residual_sd=3.56753034006338,
    r2=0.999365492298663,
    constant=False,
)

NO_INT_2 = Certified(
    y=numbers("3 4 4"),
    regressors=[numbers("4 5 6")],
    coefficients=[0.727272727272727],
    errors=[0.420827318078432e-01],
    residual_sd=0.369274472937998,
    r2=0.993348115299335,
    constant=False,
)

FILIP = Certified(
    y=numbers("""
        0.8116 0.9072 0.9052 0.9039 0.8053 0.8377 0.8667 0.8809 0.7975 0.8162 0.8515 0.8766 0.8885 0.8859 0.8959 0.8913 0.8959 0.8971 0.9021
        0.909 0.9139 0.9199 0.8692 0.8872 0.89 0.891 0.8977 0.9035 0.9078 0.7675 0.7705 0.7713 0.7736 0.7775 0.7841 0.7971 0.8329 0.8641
        0.8804 0.7668 0.7633 0.7678 0.7697 0.77 0.7749 0.7796 0.7897 0.8131 0.8498 0.8741 0.8061 0.846 0.8751 0.8856 0.8919 0.8934 0.894
        0.8957 0.9047 0.9129 0.9209 0.9219 0.7739 0.7681 0.7665 0.7703 0.7702 0.7761 0.7809 0.7961 0.8253 0.8602 0.8809 0.8301 0.8664 0.8834
        0.8898 0.8964 0.8963 0.9074 0.9119 0.9228"""),
    regressors=powers(numbers("""
        -6.860120914 -4.324130045 -4.358625055 -4.358426747 -6.955852379 -6.661145254 -6.355462942 -6.118102026 -7.115148017 -6.815308569
        -6.519993057 -6.204119983 -5.853871964 -6.109523091 -5.79832982 -5.482672118 -5.171791386 -4.851705903 -4.517126416 -4.143573228
        -3.709075441 -3.499489089 -6.300769497 -5.953504836 -5.642065153 -5.031376979 -4.680685696 -4.329846955 -3.928486195 -8.56735134
        -8.363211311 -8.107682739 -7.823908741 -7.522878745 -7.218819279 -6.920818754 -6.628932138 -6.323946875 -5.991399828 -8.781464495
        -8.663140179 -8.473531488 -8.247337057 -7.971428747 -7.676129393 -7.352812702 -7.072065318 -6.774174009 -6.478861916 -6.159517513
        -6.835647144 -6.53165267 -6.224098421 -5.910094889 -5.598599459 -5.290645224 -4.974284616 -4.64454848 -4.290560426 -3.885055584
        -3.408378962 -3.13200249 -8.726767166 -8.66695597 -8.511026475 -8.165388579 -7.886056648 -7.588043762 -7.283412422 -6.995678626
        -6.691862621 -6.392544977 -6.067374056 -6.684029655 -6.378719832 -6.065855188 -5.752272167 -5.132414673 -4.811352704 -4.098269308
        -3.66174277 -3.2644011"""), 10),
    coefficients=[
        -1467.48961422980, -2772.17959193342, -2316.37108160893, -1127.97394098372, -354.478233703349, -75.1242017393757, -10.8753180355343,
        -1.06221498588947, -0.670191154593408e-01, -0.246781078275479e-02, -0.402962525080404e-04,
    ],
    errors=[
        298.084530995537, 559.779865474950, 466.477572127796, 227.204274477751, 71.6478660875927, 15.2897178747400, 2.23691159816033,
        0.221624321934227, 0.142363763154724e-01, 0.535617408889821e-03, 0.896632837373868e-05,
    ],
    residual_sd=0.334801051324544e-02,
    r2=0.996727416185620,
)  # fmt: skip

LONGLEY = Certified(
    y=numbers("60323 61122 60171 61187 63221 63639 64989 63761 66019 67857 68169 66513 68655 69564 69331 70551"),
    regressors=[
        numbers("83.0 88.5 88.2 89.5 96.2 98.1 99.0 100.0 101.2 104.6 108.4 110.8 112.6 114.2 115.7 116.9"),
        numbers("234289 259426 258054 284599 328975 346999 365385 363112 397469 419180 442769 444546 482704 502601 518173 554894"),
        numbers("2356 2325 3682 3351 2099 1932 1870 3578 2904 2822 2936 4681 3813 3931 4806 4007"),
        numbers("1590 1456 1616 1650 3099 3594 3547 3350 3048 2857 2798 2637 2552 2514 2572 2827"),
        numbers("107608 108632 109773 110929 112075 113270 115094 116219 117388 118734 120445 121950 123366 125368 127852 130081"),
        [Fraction(year) for year in range(1947, 1963)],
    ],
    coefficients=[
        -3482258.63459582, 15.0618722713733, -0.358191792925910e-01, -2.02022980381683, -1.03322686717359, -0.511041056535807e-01,
        1829.15146461355,
    ],
    errors=[
        890420.383607373, 84.9149257747669, 0.334910077722432e-01, 0.488399681651699, 0.214274163161675, 0.226073200069370, 455.478499142212,
    ],
    residual_sd=304.854073561965,
    r2=0.995479004577296,
)  # fmt: skip

FIFTH = powers([Fraction(k) for k in range(21)], 5)
WAMPLER_ERRORS = [
    2152.32624678170,
    2363.55173469681,
    779.343524331583,
    101.475507550350,
    5.64566512170752,
    0.112324854679312,
]


def wampler(y: Exact, coefficients: list[float], noise: float, r2: float) -> Certified:
    return Certified(
        y, FIFTH, coefficients, [noise * error for error in WAMPLER_ERRORS], noise * 2360.14502379268, r2
    )


def polynomial(base: str) -> Exact:
    return [sum((Fraction(base) * x) ** k for k in range(6)) for x in range(21)]


WAMPLER_1 = wampler(polynomial("1"), [1.0] * 6, 0.0, 1.0)
WAMPLER_2 = wampler(polynomial("0.1"), [1.0, 0.1, 0.01, 0.001, 0.0001, 0.00001], 0.0, 1.0)
WAMPLER_3 = wampler(numbers("""
    760 -2042 2111 -1684 3888 1858 11379 17560 39287 64382 113159 175108 273291 400186 581243 811568 1121004 1506550 2002767 2611612 3369180
    """), [1.0] * 6, 1.0, 0.999995559025820)  # fmt: skip
WAMPLER_4 = wampler(numbers("""
    75901 -204794 204863 -204436 253665 -200894 214131 -185192 221249 -138370 315911 -27644 455253 197434 783995 608816 1370781 1303798
    2205519 2408860 3444321"""), [1.0] * 6, 1e2, 0.957478440825662)  # fmt: skip
WAMPLER_5 = wampler(numbers("""
    7590001 -20479994 20480063 -20479636 25231365 -20476094 20489331 -20460392 18417449 -20413570 20591111 -20302844 18651453 -20077766
    21059195 -19666384 26348481 -18971402 22480719 -17866340 10958421"""), [1.0] * 6, 1e4, 0.224668921574940e-02)  # fmt: skip

SETS = {
    "Norris": NORRIS, "Pontius": PONTIUS, "NoInt1": NO_INT_1, "NoInt2": NO_INT_2, "Filip": FILIP, "Longley": LONGLEY,
    "Wampler1": WAMPLER_1, "Wampler2": WAMPLER_2, "Wampler3": WAMPLER_3, "Wampler4": WAMPLER_4, "Wampler5": WAMPLER_5,
}  # fmt: skip
ON_A_LINE = ["Wampler1", "Wampler2"]
EACH = pytest.mark.parametrize("name", SETS)


def product(a: Exact, b: Exact) -> Fraction:
    return sum((one * other for one, other in zip(a, b, strict=True)), Fraction(0))


def fit(y: Exact, columns: list[Exact]) -> Exact:
    """Least squares in fractions: the normal equations by elimination, exactly."""
    rows = [[product(a, b) for b in columns] + [product(a, y)] for a in columns]
    for i, pivot in enumerate(rows):
        for below in rows[i + 1 :]:
            factor = below[i] / pivot[i]
            for j in range(i, len(pivot)):
                below[j] -= factor * pivot[j]
    found: Exact = [Fraction(0)] * len(columns)
    for i in reversed(range(len(columns))):
        found[i] = (rows[i][-1] - product(rows[i][i + 1 : -1], found[i + 1 :])) / rows[i][i]
    return found


def left_of(y: Exact, columns: list[Exact]) -> Exact:
    """What the columns do not explain of y."""
    left = list(y)
    for coefficient, column in zip(fit(y, columns), columns, strict=True):
        left = [value - coefficient * one for value, one in zip(left, column, strict=True)]
    return left


def floats(column: Exact) -> Floats:
    return np.array([float(value) for value in column])


def reduced(certified: Certified, k: int) -> Floats:
    """(2, 2·rows): y and the regressor of coefficient k without the others, and their mirror images, so that
    the constant is 0.
    """
    others = [column for j, column in enumerate(certified.columns) if j != k]
    legs = [certified.y, certified.columns[k]]
    if others:
        legs = [left_of(leg, others) for leg in legs]
    return np.stack([np.concatenate((floats(leg), -floats(leg))) for leg in legs])


def one(operator: object, values: Floats) -> list[float]:
    rows = np.array([values.shape[1]])
    return [float(column[0]) for column in operator(values, np.array([0]), np.array([1]), rows, rows)]  # type: ignore[operator]


@EACH
def test_the_typed_rows_have_the_certified_fit_in_exact_arithmetic(name: str) -> None:
    certified = SETS[name]
    found = fit(certified.y, certified.columns)
    assert [float(coefficient) for coefficient in found] == pytest.approx(certified.coefficients, rel=1e-13)
    left = left_of(certified.y, certified.columns)
    square = float(product(left, left))
    assert (square / (len(left) - len(found))) ** 0.5 == pytest.approx(
        certified.residual_sd, rel=1e-13, abs=0.0
    )
    mean = sum(certified.y, Fraction(0)) / len(left) if certified.constant else Fraction(0)
    about = [value - mean for value in certified.y]
    assert 1 - square / float(product(about, about)) == pytest.approx(certified.r2, rel=1e-13)


def test_norris_as_it_stands() -> None:
    slope, constant, r2, error = one(rolling_ols, np.stack((floats(NORRIS.y), floats(NORRIS.regressors[0]))))
    assert (slope, error) == (
        pytest.approx(NORRIS.coefficients[1], rel=1e-13),
        pytest.approx(NORRIS.errors[1], rel=1e-13),
    )
    assert (constant, r2) == (
        pytest.approx(NORRIS.coefficients[0], rel=1e-11),
        pytest.approx(NORRIS.r2, rel=1e-14),
    )


@EACH
def test_every_certified_coefficient_and_its_standard_error(name: str) -> None:
    certified = SETS[name]
    rows, parameters = len(certified.y), len(certified.coefficients)
    for k, (coefficient, error) in enumerate(zip(certified.coefficients, certified.errors, strict=True)):
        values = reduced(certified, k)
        slope, constant, _, found = one(rolling_ols, values)
        assert slope == pytest.approx(coefficient, rel=1e-9, abs=1e-9 * error)
        assert constant == pytest.approx(0.0, abs=1e-9 * float(np.abs(values[0]).max()))
        # twice the rows of n − 1 degrees of freedom, where the set has n − parameters
        assert found * (2 * (rows - 1) / (rows - parameters)) ** 0.5 == pytest.approx(
            error, rel=1e-9, abs=1e-9 * abs(coefficient)
        )


@pytest.mark.parametrize("name", ON_A_LINE)
@pytest.mark.parametrize("operator", [rolling_huber, rolling_theil_sen, rolling_tls])
def test_rows_on_a_line_have_that_line_by_every_method(name: str, operator: object) -> None:
    for k, coefficient in enumerate(SETS[name].coefficients):
        slope, _, r2, *_ = one(operator, reduced(SETS[name], k))
        assert (slope, r2) == (pytest.approx(coefficient, rel=1e-9), pytest.approx(1.0, rel=1e-9))


def begin(values: Floats) -> list[float]:
    rows, zero = np.array([values.shape[1]]), np.array([0])
    return [
        float(column[0])
        for column in HedgeKalman(1, 1).update(values, zero, zero, zero + 1, rows, rows, rows)
    ]


def test_a_kalman_filter_begins_with_the_certified_line() -> None:
    slope, constant, r2, error, innovation = begin(np.stack((floats(NORRIS.y), floats(NORRIS.regressors[0]))))
    assert (slope, error) == (
        pytest.approx(NORRIS.coefficients[1], rel=1e-12),
        pytest.approx(NORRIS.errors[1], rel=1e-12),
    )
    assert (constant, r2) == (
        pytest.approx(NORRIS.coefficients[0], rel=1e-10),
        pytest.approx(NORRIS.r2, rel=1e-12),
    )
    assert np.isnan(innovation)


def test_a_kalman_filter_of_noisy_polynomials_begins_with_their_coefficients() -> None:
    for name in ("Pontius", "Longley", "Filip", "Wampler3", "Wampler4", "Wampler5"):
        certified = SETS[name]
        for k, (coefficient, error) in enumerate(zip(certified.coefficients, certified.errors, strict=True)):
            assert begin(reduced(certified, k))[0] == pytest.approx(coefficient, rel=1e-9, abs=1e-9 * error)
