"""Points are drawn where gradients go wrong, until one does: `search_gradients`."""

from handgrad.gradcheck.search.draw import Draw as Draw
from handgrad.gradcheck.search.results import Search as Search
from handgrad.gradcheck.search.search import point_of as point_of
from handgrad.gradcheck.search.search import search_gradients as search_gradients
